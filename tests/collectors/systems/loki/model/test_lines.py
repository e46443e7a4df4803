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
    "line",
    [
        '{"record":{"time":{"repr":"2026-01-02","timestamp":1767.1},"level":{"name":"INFO","no":20},"message":"x"},"text":"x"}',
        '{"ts":1767323045.1,"v":0,"msg":"x","logger":"controller"}',
        '{"timeMillis":1767323045000,"thread":"main","level":"INFO","loggerName":"a","message":"x","endOfBatch":false}',
        '{"epochSecond":1767323045,"level":"INFO","message":"x"}',
        '{"severity":"INFO","message":"x","timestampSeconds":1767323045,"timestampNanos":0}',
        '{"_msg":"x","_time":"2026-01-02T03:04:05Z","level":"info"}',
        '{"log_level":"info","log_message":"x","timestamp":"2026"}',
        '{"status":"info","message":"x","timestamp":"2026","dd":{"trace_id":"1"}}',
        '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":"ResponseComplete","requestURI":"/api","requestReceivedTimestamp":"2026","responseStatus":{"code":200}}',
        '{"time_unix_nano":"1","severity_text":"INFO","body":"x"}',
        '{"timeUnixNano":"1","severityNumber":9,"body":{"stringValue":"x"}}',
    ],
)
def test_lines_of_further_loggers_are_structured(line: str) -> None:
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
        ('{"time":1,"level":"info","msg":"  "}', "lack a message"),
        ('{"time":1,"status":"shipped","msg":"x"}', "lack a level"),
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


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("authz=Bearer%20k3J9xQ2mZp7Wv1RtAbCd", "a bearer token"),
        (
            'Authorization: Digest username="ann", realm="r", nonce="abc", uri="/", response="6629fae49393a05397450978507c4ef1"',
            "a login by digest",
        ),
        ("code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "a password"),
        ("snmp community=s3cr3tC0mm read", "a community of SNMP"),
        ("snmpwalk -v2c -c s3cr3tC0mm 10.0.0.1", "a community of SNMP"),
        ("sessionid=9f8a7b6c5d4e3f2a1b0c9f8a7b6c5d4e; user=ann", "a session"),
        ("password_hash=5f4dcc3b5aa765d61d8327deb882cf99", "a password"),
        ("hmac_key=9f8a7b6c5d4e3f2a1b0c9f8a7b6c5d4e", "a password"),
        (
            "ntlm hash ann:1001:aad3b435b51404eeaad3b435b51404ee:31d6cfe0d16ae931b73c59d7e0c089c0:::",
            "a hash of a password",
        ),
        ("Ocp-Apim-Subscription-Key: 9f8a7b6c5d4e3f2a1b0c9f8a7b6c5d4e", "a password"),
        ("x-functions-key: 9f8a7b6c5d4e3f2a1b0c9f8a==", "a password"),
        ("jdbc:oracle:thin:scott/tiger12@db:1521/x", "an address with a password"),
        ("CREATE USER 'ann'@'%' IDENTIFIED BY 'Hunter2x9'", "a password of a command"),
        ("SET PASSWORD FOR 'ann' = PASSWORD('Hunter2x9')", "a password in a sentence"),
        (
            "IDENTIFIED WITH mysql_native_password AS '*6BB4837EB74329105EE4568DDA7DC67ED2CA2AD9'",
            "a hash of a password",
        ),
        ("SCRAM-SHA-256$4096:salt1234salt1234$StoredKey12345=:ServerKey123456=", "a hash of a password"),
        ("ACL SETUSER ann on >Hunter2x9 ~* +@all", "a password of Redis"),
        ("HELLO 3 AUTH default Hunter2x9", "a password of Redis"),
        ('array(2) { ["password"]=> string(9) "Hunter2x9" }', "a password"),
        ("[password] => Hunter2x9", "a password"),
        ("{u'password': u'Hunter2x9'}", "a password"),
        ("('password', 'Hunter2x9')", "a password"),
        ('["password","Hunter2x9"]', "a password"),
        ("password  =  Hunter2x9", "a password"),
        ("password is: Hunter2x9", "a password in a sentence"),
        ("password (Hunter2x9)", "a password in a sentence"),
        ("A temporary password is generated for root@localhost: qL#k8dja!3xZ", "a password in a sentence"),
        ("To login use token 9f8a7b6c5d4e3f2a1b0c", "a token in a sentence"),
        ("Unseal Key 1: 6ImrJqhWbA8lYmvNkHiHeBv1jHW5Qj0nTfr9bGmmFe8x", "a private key"),
        ("GET /callback?code=4/0AX4XfWh9f8a7b6c5d4e3f2a&state=xyz HTTP/1.1", "a code of a sign-in"),
        ("GET /?jwt=9f8a7b6c5d4e3f2a1b0c9f8a HTTP/1.1", "a password"),
        ("git clone https://9f8a7b6c5d4e3f2a1b0c9f8a7b6c5d4e9f8a7b6c@github.com/x/y", "an address with a password"),
        ("ldapsearch -D cn=admin -w Hunter2x9", "a password of a command"),
        ("ipmitool -U admin -P Hunter2x9 sol", "a password of a command"),
        ("smbclient -U ann%Hunter2x9", "a password of a command"),
        ("echo Hunter2x9 | sudo -S ls", "a password of a command"),
        ("aws configure set aws_secret_access_key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "a password of a command"),
        (
            "mnemonic: abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
            "a recovery phrase",
        ),
        (
            "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi",
            "a private key",
        ),
        ("wallet private key 0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318", "a private key"),
        ("Your code is 482913", "a code for one person"),
        ("laravel_session=eyJpdiI6IjlmOGE3YjZjNWQ0ZTNmMmExYjBj", "a session"),
        ("_gitlab_session=9f8a7b6c5d4e3f2a1b0c9f8a7b6c5d4e", "a session"),
        ("wordpress_logged_in_9f8a=ann%7C1767323045%7C9f8a7b6c5d4e3f2a1b0c9f8a", "a session"),
        ("kerberos ticket: doIFQjCCBT6gAwIBBaEDAgEWooIEVzCCBFNhggRPMIIES6ADAgEF", "a Kerberos ticket"),
        ("PresharedKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=", "a password"),
        (
            f"FCM server key AAAA1234567:APA91b{'HPRgkF3JUi' * 12}",
            "a token of a known service",
        ),
        ("app:S3cr3tw0rd@tcp(db:3306)/shop", "an address with a password"),
        ('"CONFIG" "SET" "requirepass" "S3cr3tw0rd"', "a password of Redis"),
        ("2FA code 482913", "a code for one person"),
        ("wget --http-user=ci --http-password=password https://repo.internal/", "a password"),
    ],
)
def test_secrets_in_other_forms_are_found(line: str, kind: str) -> None:
    assert dict(secrets_in(stream(line, "nothing"), {})) == {kind: 1}


@pytest.mark.parametrize(
    "line",
    [
        "2026-01-02 Access denied for user 'root'@'10.0.0.1' (using password: YES)",
        '1.2.3.4 - - [08/Dec/2021:17:23:24 +0100] "GET /../../etc/passwd HTTP/1.1" 400 166',
        '"GET /.htpasswd HTTP/2.0" 403',
        "#9 Pipeline.php(180): Middleware\\VerifyCsrfToken->handle(Object(Request), Object(Closure))",
        "#3 AccessToken->getToken('abc')",
        "Supplied credentials: [UsernamePasswordCredential(username=john.doe, source=null)]",
        "dovecot: auth: passwd-file(karen@co.uk,192.168.1.1): unknown user (SHA1 of given password: 21bd12)",
        "W ActivityManager: Bad activity token: android.os.BinderProxy@2bd79ce",
        "Could not get event name for stream/token: com.apple.xpc.activity/4505: 132",
        "WWID:01000010:6005-08b4-0001-00c6-0006-3000-003d-0000 is in the unavailable state",
        "password=SecretStr('**********')",
        "password=SecretStr(\"**********\") token=Secret('')",
        "UsernamePasswordAuthenticationToken [Principal=ann, Credentials=[PROTECTED], Authenticated=true, Details=null]",
        '{"password":["This field is required."]}',
        '{"errors":{"password":["must be at least 8 characters"]}}',
        "Validation failed: password: is too short (minimum is 8 characters)",
        "password: can't be blank",
        "password: cannot be empty",
        '"password": "The password field is required."',
        "password: string",
        '{"type":"object","properties":{"password":"string","token":"string"}}',
        "password VARCHAR(255)",
        "password: Optional[str]",
        "password=$DB_PASSWORD",
        "password=%DB_PASSWORD%",
        "secret=arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf",
        "encryption_key=arn:aws:kms:eu-west-1:123456789012:key/8f3a11bc-22dd",
        "password=projects/12345/secrets/db/versions/3",
        "password=vault:secret/data/db#password",
        "password=op://infra/db/password",
        "password=file:/run/secrets/db",
        "password=env:DB_PASSWORD",
        "token: START_OBJECT",
        "Unexpected token: SEMICOLON at 12",
        '"token":"EndOfFile"',
        "token=JsonToken.START_ARRAY",
        "time_per_output_token: 12.345678ms",
        "time_per_output_token=0.0123456789",
        "secret=default-token-x7k2p",
        "secret: sh.helm.release.v1.api.v3",
        "imagePullSecret: regcred-2024",
        '"secret":"db-credentials-7f9c2b"',
        "Failed password for invalid user admin123 from 10.0.0.1 port 22 ssh2",
        "Accepted password for ubuntu2204 from 10.0.0.1",
        "password updated for user42",
        "password: changed",
        "password: valid",
        "password=correct",
        "password: set",
        "password=provided",
        "password=present",
        "auth: password=matched",
        "Password: Success",
        "password: enabled",
        "password reset link sent to user123",
        '"clientRequestToken":"8f3a11bc-22dd-44ee-99aa-0123456789ab"',
        "fencing_token=0000000123",
        '"pagination_token":"AAABBBccc123dddEEE"',
        "scroll_token=DXF1ZXJ5QW5kRmV0Y2gBAAAAAAAAAD4WYm9laVYtZndUQlNsdDcwakFMNjU1QQ==",
        '"idempotencyToken":"8f3a11bc-22dd"',
        "loaded tokenizer eos_token=<|im_end|> pad_token=[PAD]",
        "pwd=C:\\Users\\ann",
        "OLDPWD=/root",
        "passwordEncoder=BCryptPasswordEncoder1",
        "password_last_changed=2026-01-02",
        "password_expires=90days",
        "passwordChangedAt=1767323045",
        "pass: 1234 tests",
        "passed=12",
        "pass=2 fail=0",
        "--password-stdin given",
        "WARNING! Using --password via the CLI is insecure. Use --password-stdin.",
        "Enter password: ERROR 1045 (28000): Access denied",
        "secret_key_rotation=enabled",
        "chpasswd[7]: pam_unix(chpasswd:chauthtok): password changed for root",
        "ExternalSecret: key=prod/db property=password version=AWSCURRENT",
        "nats pub orders.created x -p 4222",
        "snmp community updated",
        "Authorization: AWS4-HMAC-SHA256 rejected",
        'WWW-Authenticate: Digest realm="r", nonce="9f8a7b6c5d4e3f2a1b0c", qop="auth"',
        "GET /x?code=DE&state=BY 200",
    ],
)
def test_what_programs_report_of_secrets_is_none(line: str) -> None:
    """Most are from logs of public projects: databases, proxies, frameworks and what scanners send to each web server."""
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
