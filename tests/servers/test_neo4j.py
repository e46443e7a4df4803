"""The servers of the tests: Neo4j as it is after its first start."""

import pytest
from neo4j.exceptions import ClientError

from tests.servers.neo4j import VERSION, Neo4j
from tests.servers.process import call


def test_it_is_the_community_edition_and_its_password_was_changed(neo4j_server: Neo4j) -> None:
    components = neo4j_server.run("CALL dbms.components()")
    assert [(row["versions"], row["edition"]) for row in components] == [([VERSION], "community")]
    assert call(f"{neo4j_server.url}/")["neo4j_version"] == VERSION
    with pytest.raises(ClientError, match="unauthorized"):
        neo4j_server.run("SHOW DATABASES", password="neo4j")
