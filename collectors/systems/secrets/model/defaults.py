"""Passwords that programs are delivered with, that their manuals show, or that everybody tries first."""

from __future__ import annotations

import re

__all__ = ["is_default", "is_guessed_at_once"]

_DEFAULT_PASSWORDS = frozenset(
    {
        "password", "password1", "passw0rd", "p@ssw0rd", "postgres", "mysql", "mongo", "redis", "rabbitmq", "grafana",
        "admin", "administrator", "root", "toor", "guest", "secret", "test", "default", "qwerty", "letmein", "welcome",
        "123456", "1234", "12345678", "123456789", "minioadmin", "minio123", "masterkey", "supersecret", "super-secret",
        "super_secret",
        "mysecretpassword", "mysecret", "my-secret", "secret-key", "secretkey", "changeit", "foobared", "prom-operator",
        "elastic", "neo4j", "example", "user", "s3cr3t", "your-256-bit-secret", "sa", "abc123", "pass", "keyboard cat",
        "shhhhh", "foobar", "insecure", "iloveyou", "admin@123", "pass@word", "test-key", "testkey", "dev",
        "development", "topsecret", "demo", "sample", "mock", "abcdef", "demo_key", "demo-key",
    }
)  # fmt: skip
#: Of passwords alone: as tokens and secrets, these may be the names of objects.
_PRODUCTS = frozenset(
    {
        "airflow", "app", "bitnami", "cassandra", "clickhouse", "cockroach", "couchbase", "couchdb", "docker", "drupal",
        "elasticsearch", "gitea", "gitlab", "harbor", "influxdb", "jenkins", "joomla", "kafka", "keycloak", "kibana",
        "kubernetes", "ldap", "magento", "mariadb", "minio", "mongodb", "mssql", "nagios", "nats", "nexus", "oracle",
        "adminpw", "change_on_install", "difyai", "manager",
        "portainer", "qdrant", "rabbit", "rancher", "raspberry", "sonar", "sonarqube", "superset", "temporal", "tiger",
        "timescale", "tomcat", "traefik", "ubuntu", "vagrant", "wordpress", "zabbix",
    }
)  # fmt: skip
_COMMON = frozenset(
    {
        "000000", "111111", "112233", "121212", "123123", "123321", "147258", "159753", "1q2w3e", "1q2w3e4r", "1q2w3e4r5t",
        "1qaz2wsx", "1qaz@wsx", "5ivel!fe",
        "222222", "321321", "555555", "654321", "666666", "696969", "777777", "987654", "987654321", "access",
        "andrew", "asdf", "asdfgh", "asdfghjkl", "ashley", "azerty", "bailey", "baseball", "batman", "charlie", "cheese",
        "computer", "corvette", "daniel", "donald", "dragon", "flower", "football", "freedom", "george", "hannah", "harley",
        "hello", "hockey", "hunter", "hunter2", "internet", "jessica", "jordan", "killer", "liverpool", "login", "love",
        "master", "matrix", "michael", "michelle", "monkey", "mustang", "nicole", "ninja", "pepper", "princess", "purple",
        "q1w2e3r4", "qazwsx", "qwer", "qwertyuiop", "ranger", "robert", "secret", "shadow", "solo", "soccer", "starwars",
        "summer", "sunshine", "superman", "thomas", "trustno1", "whatever", "winter", "yankees", "zaq12wsx", "zxcvbn",
        "zxcvbnm", "zaq1zaq1",
    }
)  # fmt: skip
_SEASON = re.compile(
    r"(?i)(?:spring|summer|autumn|fall|winter|january|february|march|april|may|june|july|august|september|october|november"
    r"|december|monday|friday|company)[-_@.]?(?:19|20)?\d\d[!@#$.?]{0,3}"
)
_WORD_AND_PASSWORD = re.compile(r"[a-z]{1,20}(?:[-_][a-z]{1,20}){0,3}[-_]?pass(?:word|wd)?")
_DIGITS_FOR_LETTERS = str.maketrans("013457@$!", "oieastasi")
_MARKS = "0123456789!.#$@_-"


def is_default(password: str) -> bool:
    """Whether a secret of any kind is one that everybody tries, with or without a number or mark behind it."""
    lower = password.lower()
    if lower in _DEFAULT_PASSWORDS or lower.translate(_DIGITS_FOR_LETTERS) in _READ:
        return True
    return lower.rstrip(_MARKS) in _DEFAULT_PASSWORDS - {"test", "user", "sa", "pass"}


def is_guessed_at_once(password: str) -> bool:
    """Whether a password is the name of a product, one of the most common ones, or a season and a year."""
    lower = password.lower()
    bare = lower.rstrip(_MARKS)
    if lower in _COMMON or bare in _PRODUCTS | _COMMON or _SEASON.fullmatch(password):
        return True
    return _WORD_AND_PASSWORD.fullmatch(bare.translate(_DIGITS_FOR_LETTERS)) is not None


_READ = frozenset({"password", "admin", "administrator", "secret", "welcome", "letmein", "passwort", "topsecret"})
