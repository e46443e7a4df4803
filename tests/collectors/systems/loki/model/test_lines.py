"""What log lines are taken for: lines of many loggers, in many envelopes, with and without secrets."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.shared.marker import Marker
from collectors.systems.loki.model.limits import LogLimits
from collectors.systems.loki.model.lines import Stream, structure
from collectors.systems.loki.model.secrets import literally, secrets_in, without_secrets

NAMES = LogLimits()


def stream(*lines: str, **labels: str) -> list[Stream]:
    """One stream, newest line first, as Loki gives it."""
    return [Stream(labels, [(str(number), line) for number, line in enumerate(lines)][::-1])]


PINO = '{"level":30,"time":1767323045000,"pid":7,"msg":"request completed"}'
ZAP = '{"level":"info","ts":1767323045.1,"msg":"served"}'
ECS = '{"@timestamp":"2026-01-02T03:04:05Z","log":{"level":"info"},"message":"served"}'
DOTTED = '{"@timestamp":"2026-01-02T03:04:05Z","log.level":"info","message":"served"}'
LOGFMT = r'ts=2026-01-02T03:04:05Z level=info msg="said \"hello\"" took=7ms ok'
DOCKER = json.dumps({"log": ZAP + "\n", "stream": "stdout", "time": "2026-01-02T03:04:05Z"})
CRI = f"2026-01-02T03:04:05.000000006Z stdout F {ZAP}"
RUST = '{"timestamp":"2026-01-02T03:04:05Z","level":"INFO","fields":{"message":"served"},"target":"api"}'
SERILOG = '{"@t":"2026-01-02T03:04:05Z","@mt":"served {Path}","Path":"/"}'
SERILOG_ERROR = '{"@t":"2026-01-02T03:04:05Z","@m":"broke","@l":"Error"}'
SERILOG_PLAIN = '{"Timestamp":"2026-01-02T03:04:05Z","Level":"Information","MessageTemplate":"served"}'
NGINX = '{"time_iso8601":"2026-01-02T03:04:05Z","request":"GET / HTTP/1.1","status":"200"}'
ENVOY = '{"start_time":"2026-01-02T03:04:05Z","method":"GET","path":"/","response_code":200}'
TRAEFIK = (
    '{"RequestPath":"/","DownstreamStatus":200,"StartUTC":"2026-01-02T03:04:05Z","level":"info","msg":"","time":"x"}'
)
OTEL = '{"Timestamp":"2026-01-02T03:04:05Z","SeverityText":"INFO","Body":"served"}'
DOTNET = '{"Timestamp":"2026-01-02T03:04:05Z","EventId":0,"LogLevel":"Information","Message":"served"}'
POSTGRES = '{"timestamp":"2026-01-02 03:04:05.001 UTC","error_severity":"LOG","message":"served"}'
MONGO = '{"t":{"$date":"2026-01-02T03:04:05.001+00:00"},"s":"I","c":"NETWORK","msg":"Connection accepted"}'
LOG4J = '{"instant":{"epochSecond":1767323045,"nanoOfSecond":1},"level":"INFO","message":"served"}'
CLOUD = '{"severity":"INFO","time":"2026-01-02T03:04:05Z","textPayload":"served"}'
AZURE = '{"TimeGenerated":"2026-01-02T03:04:05Z","Level":"Info","Message":"served"}'
PACKED = json.dumps({"_entry": LOGFMT, "pod": "api-0"})


@pytest.mark.parametrize(
    "line",
    [PINO, ZAP, ECS, DOTTED, LOGFMT, DOCKER, CRI, PACKED, json.dumps({"log": CRI}), RUST, SERILOG, SERILOG_ERROR, SERILOG_PLAIN,
     NGINX, ENVOY, TRAEFIK, OTEL, DOTNET, POSTGRES, MONGO, LOG4J, CLOUD, AZURE],
)  # fmt: skip
def test_structured_lines_are_recognised(line: str) -> None:
    seen = structure(stream(line), NAMES)
    assert (seen.lines, seen.structured, dict(seen.lacking)) == (1, 1, {})


@pytest.mark.parametrize(
    ("line", "lacking"),
    [
        ("GET /orders 200", "are plain text"),
        ("2026-01-02 03:04:05 INFO served status=200", "are plain text"),
        ('{"half": ', "are plain text"),
        ('["level", "msg", "ts"]', "are plain text"),
        ('{"a": 1}', "are plain text"),
        ('ts=1 level=info msg="never ends', "are plain text"),
        (json.dumps({"log": "plain text\n", "stream": "stdout", "time": "2026-01-02T03:04:05Z"}), "are plain text"),
        ("2026-01-02T03:04:05.000000006Z stderr F plain text", "are plain text"),
        (json.dumps({"_entry": "plain text", "level": "info", "time": "x", "msg": ""}), "are plain text"),
        ('{"time":1,"level":"info"}', "lack a message"),
        ('{"time":1,"level":"info","msg":""}', "lack a message"),
        ('{"time":1,"msg":"x","level":null}', "lack a level"),
        ('{"request":"GET / HTTP/1.1","status":"200"}', "lack a timestamp"),
        ('{"time":1,"status":"started"}', "are plain text"),
        ('{"level":"info","msg":"x"}', "lack a timestamp"),
        ('{"log":{"level":"info"},"message":"x"}', "lack a timestamp"),
        ("[" * 5000, "are plain text"),
        ('{"a":' * 5000, "are plain text"),
    ],
)
def test_what_is_not_structured_is_told(line: str, lacking: str) -> None:
    seen = structure(stream(line), NAMES)
    assert (seen.lines, seen.structured, dict(seen.lacking)) == (1, 0, {lacking: 1})


def test_the_level_may_be_a_label() -> None:
    line = '{"time":1,"msg":"x"}'
    assert structure(stream(line, level="info"), NAMES).structured == 1
    assert structure(stream(line, app="info"), NAMES).structured == 0


PYTHON = (
    "Traceback (most recent call last):",
    '  File "a.py", line 1, in <module>',
    "    f()",
    "builtins.ValueError: x",
)
JAVA = (
    "java.lang.IllegalStateException: x",
    "\tat a.B.c(B.java:1)",
    "\tat a.B.d(B.java:2)",
    "Caused by: y",
    "... 3 more",
)


@pytest.mark.parametrize("trace", [PYTHON, JAVA, ("panic: x", "goroutine 1 [running]:", "\t/main.go:7")])
def test_a_stack_trace_is_one_line(trace: tuple[str, ...]) -> None:
    seen = structure(stream(*[ZAP] * 9, *trace, ZAP), NAMES)
    assert (seen.lines, seen.structured, dict(seen.lacking)) == (11, 10, {"are plain text": 1})


def test_lines_of_plain_text_are_no_stack_trace() -> None:
    seen = structure(stream("ConnectionError: a", "ConnectionError: b", "", " \n", "c"), NAMES)
    assert (seen.lines, seen.structured) == (3, 0)


@given(st.lists(st.text()))
def test_whatever_is_logged_can_be_looked_at(lines: list[str]) -> None:
    seen = structure(stream(*lines), NAMES)
    assert seen.structured + sum(seen.lacking.values()) == seen.lines <= len(lines)
    secrets_in(stream(*lines), {})


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("password=hunter22", "a password"),
        ('{"password":"hunter22"}', "a password"),
        (r'{"body":"{\"user\":\"a\",\"password\":\"hunter22\"}"}', "a password"),
        ("DB_PASSWORD: hunter22", "a password"),
        ("export PGPASSWORD=qwertz99", "a password"),
        ("api_key=abcdef0123", "a password"),
        ("Authorization: Bearer abcdef.ghijkl", "a bearer token"),
        ("Authorization: Basic dXNlcjpwYXNz", "basic credentials"),
        ('{"authorization":"Basic dXNlcjpwYXNz"}', "basic credentials"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P", "a JSON web token"),
        ("-----BEGIN RSA PRIVATE KEY-----", "a private key"),
        ("key AKIAIOSFODNN7EXAMPLE used", "an AWS access key"),
        ("postgresql://app:hunter22@db:5432/app", "an address with a password"),
        ('{"accessToken":"q8Zr3xT7vB2nM5kL9wYc"}', "a password"),
        ('{"clientSecret":"q8Zr3xT7vB2nM5kL9wYc"}', "a password"),
        ('{"userPassword":"Tr0ub4dor&3"}', "a password"),
        ("X-Api-Key: q8Zr3xT7vB2nM5kL9wYc", "a password"),
        (r'{"body":"{\"refreshToken\":\"q8Zr3xT7vB2nM5kL9wYc\"}"}', "a password"),
        ("map[X-Api-Key:[q8Zr3xT7vB2nM5kL9wYc]]", "a password"),
        ("aws_secret_access_key=q8Zr3xT7vB2nM5kL9wYc/q8Zr3xT7vB2nM5kL9wY", "a password"),
        ("Cookie: sid=q8Zr3xT7vB2nM5kL; theme=dark", "a cookie"),
        ('{"set-cookie":["sid=q8Zr3xT7vB2nM5kL; HttpOnly"]}', "a cookie"),
        ("using sk_live_q8Zr3xT7vB2nM5kL9wYcq8Zr", "a token of a known service"),
        ("cloning with ghp_q8Zr3xT7vB2nM5kL9wYcq8Zr3xT7vB2nM5kL", "a token of a known service"),
        ("npm_q8Zr3xT7vB2nM5kL9wYcq8Zr3xT7vB2nM5kL", "a token of a known service"),
        ("glpat-q8Zr3xT7vB2nM5kL9wYc", "a token of a known service"),
        ("card 4111 1111 1111 1111 charged", "a payment card"),
        ("card 5555-5555-5555-4444", "a payment card"),
        ("card 378282246310005", "a payment card"),
        ("card 2221000000000009", "a payment card"),
        ("mysql -u root -pS3cretPw -h db", "a password of a command"),
        ("sshpass -p Gehe1m99 ssh host", "a password of a command"),
        ("redis-cli -a S3cret99 ping", "a password of a command"),
        ("curl -u ann:S3cret99 https://host", "a password of a command"),
        ("mysqldump --password=S3cretPw9 shop", "a password"),
        ("app --api-key 3f2a9c8b7d6e", "a password"),
        ("Passwort=geheim1234", "a password"),
        ("contraseña=secreto123", "a password"),
        ("mot_de_passe=azerty99", "a password"),
        ("пароль: qwerty99", "a password"),
        ('{"otp":"482913"}', "a password"),
        ("your verification code is 482913", "a code for one person"),
        ("pin code 4821", "a code for one person"),
        ('{"cvv":"123"}', "a code for one person"),
        ("iban: DE89 3704 0044 0532 0130 00", "a bank account"),
        ("paid to GB82WEST12345698765432", "a bank account"),
        ("SSN: 078-05-1120", "a social security number"),
        ('authorization="Token 9944b09199c62bcf9418ad84"', "a token"),
        ("cookie: csrf=abc; session=q8Zr3xT7vB2nM5kL", "a cookie"),
        ("login failed for ann with password hunter22!", "a password in a sentence"),
        ("DB_PASS=Zx81Spectrum", "a password"),
        ("docker login -u ann -p S3cretPw1 registry", "a password of a command"),
        (f"POST /acs SAMLResponse={'PHNhbWxw' * 5}", "a SAML message"),
        ("hash $2b$12$KIXQ4S1Jm1nT2pY6u7hF7eV6o7wY8wq1Zr9J5d0b3cQ2x1y0z9A8B", "a hash of a password"),
        ("GET /f?sv=2020&sig=abcDEF123%2Bxyz987654321%3D HTTP/1.1", "a signed address"),
        ("REDIS_AUTH=correcthorse", "a password"),
        ("env: MQTT_AUTH=u8Jq2kLm9 started", "a password"),
        ("basic_auth: admin:Hunter2x9", "a password"),
        ('1767323045.1 [0 127.0.0.1:5] "AUTH" "default" "pa55w0rdX"', "a password of Redis"),
        ('"auth" "hunter22x"', "a password of Redis"),
        ("CONFIG SET requirepass Hunter2x9", "a password of Redis"),
        ("bindpw Hunter2x9", "a password of Redis"),
        ("535 after AUTH PLAIN AGFubgBodW50ZXIyMg==", "a login by mail"),
        ("SECRET_KEY_BASE=9f8a7b6c5d4e3f2a1b0c9f8a", "a password"),
        ("OPENAI_KEY=abcd1234efgh5678", "a password"),
        ("WIFI_PSK=Hunter2x9aa", "a password"),
        ("DBPASS=Hunter2x9", "a password"),
        ("user=admin pass=Hunter2x9", "a password"),
        ("LDAP_CREDS=Hunter2x9", "a password"),
        (':password=>"Hunter2x9"', "a password"),
        ("password -> Hunter2x9", "a password"),
        ("body=user%3Dann%26password%3DHunter2x9", "a password"),
        ('{"Name":"password","Value":"Hunter2x9"}', "a password"),
        ("<wsse:Password Type='x'>Hunter2x9</wsse:Password>", "a password"),
        ("sent https://shop.example/login?token=9f8a7b6c5d4e3f2a1b0c", "a password"),
        ("user admin pw Hunter2x9", "a password in a sentence"),
        ("PHPSESSID=9f8a7b6c5d4e3f2a1b0c9f8a", "a session"),
        (f"seed SU{'AC4K' * 14}", "a private key"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----", "a private key"),
        ("recovery code: 8f3a-11bc-22dd", "a code for one person"),
    ],
)
def test_secrets_are_found(line: str, kind: str) -> None:
    assert dict(secrets_in(stream(line, "nothing"), {})) == {kind: 1}


@pytest.mark.parametrize(
    "line",
    [
        "password=****",
        "password=[REDACTED]",
        'password="<redacted>"',
        '{"password":null,"token":"***"}',
        '{"password":"xxxxxxxx"}',
        "password: required",
        "a password reset was asked for",
        "Authorization: Bearer ********",
        "Authorization: Bearer [REDACTED]",
        "Authorization: Basic [REDACTED]",
        "a basic introduction to bearer bonds",
        "postgresql://app:***@db:5432/app",
        "http://127.0.0.1:8080/a@b",
        'mounted secret="shop/tls-cert"',
        '{"secret":"shop/tls-cert","namespace":"shop"}',
        "PWD=/srv/app",
        "token=1532",
        "gpio pin=17",
        "status code 482913",
        "mysql -h db -P 3306 -p",
        "--password is missing",
        "--password option is deprecated",
        "--password-file=/run/secrets/x",
        "--max-tokens 4096",
        "ssh -p 2222 host",
        "docker run -p 8080:80",
        "signature=invalid",
        "X-Amz-Signature=REDACTED",
        "DE89370400440532013001",
        "phone 078-05-1120",
        "ssn=***",
        "verification code sent",
        "otp-service:8080",
        "prompt_tokens=100 max_tokens: 4096",
        '{"usage":{"totalTokens":2000},"nextPageToken":"CAUQAA9wYcq8Zr3x"}',
        "token_type=Bearer expires_in=3600",
        "accessTokenLifetime=360000000",
        "secretName: api-tls-certificate",
        "api_key_id=17532155",
        "password=/run/secrets/db",
        "Cookie: [Filtered]",
        "cache key=session:42:abcdefgh miss",
        "card 4111 1111 1111 1112",
        "trace 4111111111111111a",
        "took 4111111111111111.5",
        "at 1767323045000000",
        "id 550e8400-e29b-41d4-a716-446655440000",
        "first_pass=Zx81Spectrum",
        "low_pass: 1000Hz99",
        "password sha256sum checked",
        "passwords of 12 users",
        "password policy v2.1.0",
        "docker login succeeded",
        "cookie: a=b; c=d",
        "authorization: token expired",
        "bypass=Zx81Spectrum",
        "REDIS_AUTH=enabled",
        "redis_auth: required",
        "auth=user1",
        "auth_type=v4-signature",
        "proxy_auth=ntlmv2",
        "smtp-auth=tls1.2",
        "auth: SCRAM-SHA-256",
        "AUTH PLAIN OAUTHBEARER",
        "250-AUTH PLAIN LOGIN CRAM-MD5",
        '"AUTH" "(redacted)"',
        "requirepass is not set",
        "masterauth <REDACTED>",
        "tests: pass=12/12",
        "pass=Hunter",
        "pw=1024px",
        "psk=/etc/psk",
        "idempotency_key=9f8a7b6c5d4e3f2a1b0c",
        "<password>********</password>",
        '{"name":"password","value":"[REDACTED]"}',
        '{"name":"region","value":"eu-central-1a"}',
    ],
)
def test_what_is_redacted_or_none_is_not(line: str) -> None:
    assert not secrets_in(stream(line), {})


def test_each_line_counts_once_for_each_kind() -> None:
    found = secrets_in(stream("password=hunter22 password=hunter23", "x-1"), {"a thing": r"x-\d"})
    assert dict(found) == {"a password": 1, "a thing": 1}


def test_long_lines_are_scanned() -> None:
    """In a second: a pattern that goes back over what it has read would take hours."""
    secrets_in(
        stream("a" * 250_000, "a." * 125_000, "4" * 250_000, "bearer " * 35_000, "://" * 80_000, "=" * 250_000), {}
    )
    structure(stream("a" * 250_000, "a=" * 125_000, 'a="' * 80_000, "{" * 250_000), NAMES)
    secrets_in(stream("a=" * 30_000, "a:b" * 20_000, "<a>" * 20_000, '"name":"' * 10_000, '"AUTH" "' * 10_000), {})


def test_a_pattern_does_not_match_itself() -> None:
    marker = Marker()
    for text in (marker.id, marker.password, marker.token, marker.card):
        pattern = literally(text)
        assert re.search(pattern, f"a {text} b")
        assert not re.search(pattern, pattern)


def test_a_marker_is_fresh_and_looks_like_what_it_is() -> None:
    one, other = Marker(), Marker()
    parts = [{each.id, each.trace_id, each.password, each.token, each.card} for each in (one, other)]
    assert not parts[0] & parts[1]
    assert dict(secrets_in(stream(one.card), {})) == {"a payment card": 1}
    assert not any(secret in repr(one) for secret in (one.password, one.token, one.card))


def test_what_repeats_a_secret_or_a_part_of_one_is_not_told() -> None:
    secrets = ["fake-0123456789abcdef", "4111111111111111"]
    assert (
        without_secrets("GET http://loki answered 500: an error.", secrets) == "GET http://loki answered 500: an error."
    )
    for repeated in (literally(secrets[0]), literally(secrets[1]), "fake-0123…", "…11111111"):
        assert "not shown" in without_secrets(f"parse error in {repeated}.", secrets)
