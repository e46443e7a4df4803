"""Asks Neo4j servers by Bolt and by their HTTP APIs."""
