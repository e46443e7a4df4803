"""Which settings hold a secret or a placeholder, by their names and the form of their values. Values are not kept."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from urllib.parse import unquote

from collectors.shared.tokens import known_tokens
from collectors.systems.kubernetes.model.base import Struct
from collectors.systems.secrets.model.fillers import is_filler

__all__ = ["LOCALHOST", "Finding", "Sort", "in_arguments", "in_setting", "in_text", "is_credential", "shown"]


class Sort(StrEnum):
    """What a finding is."""

    SECRET = "secret"  # noqa: S105 - the name of a sort
    PLACEHOLDER = "placeholder"


class Finding(Struct, frozen=True):
    """The name of a setting, and the rule that its value breaks; never the value."""

    sort: Sort
    name: str
    rule: str


LOCALHOST = "a database on localhost"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
#: Words at the end of a name that do not change what it is for: API_KEY_2, PASSWORD_PROD, SECRET_KEY_BASE.
_TRAILING = frozenset(
    {"v", "value", "plain", "current", "old", "new", "prod", "production", "b64", "base", "string", "text"}
)
_PASSWORDS = ("password", "passwd", "passphrase", "passcode", "passwords")
_SHORT_PASSWORDS = frozenset(
    {
        *(
            "pass",
            "pwd",
            "pw",
            "dbpass",
            "userpass",
            "storepass",
            "keypass",
            "requirepass",
            "masterauth",
            "psw",
            "bindpw",
            "authtok",
        ),
        *(
            "passe",
            "passwort",
            "kennwort",
            "contrasena",
            "contraseña",
            "senha",
            "wachtwoord",
            "haslo",
            "hasło",
            "parola",
        ),
    }
)
_TOKENS = (
    "secret",
    "token",
    "apikey",
    "credential",
    "credentials",
    "accesskey",
    "secretkey",
    "privatekey",
    "encryptionkey",
    "signingkey",
    "masterkey",
)
_KEYS = frozenset(
    {
        "api", "access", "private", "secret", "account", "auth", "encryption", "encrypt", "signing", "shared", "master",
        "session", "cookie", "app", "jwt", "hmac", "aes", "webhook", "cipher", "crypto", "service", "storage", "deploy",
        "license",
    }
)  # fmt: skip
#: Keys that name something, before which digits of a key are none.
_NAMING_KEYS = frozenset(
    {
        "public",
        "partition",
        "cache",
        "sort",
        "primary",
        "row",
        "routing",
        "group",
        "object",
        "idempotency",
        "shard",
        "foreign",
    }
)
#: Stores whose password is their AUTH: REDIS_AUTH.
_AUTHS = ("redis", "valkey", "keydb", "sentinel", "mongo", "mysql", "smtp")
_HARMLESS_BEFORE = frozenset(
    {"page", "next", "continuation", "sync", "cursor", "start", "resume", "public", "max", "min", "eos", "bos"}
)
#: Words of names whose value is the name of an object that holds the secret.
_OBJECT_WORDS = frozenset(
    {"tls", "cert", "certificate", "pull", "image", "ref", "existing", "name", "kubernetes", "mount"}
)
_SECRETS_OF = (["password", "secret"], ["credentials", "secret"], ["auth", "secret"])
_OBJECT_NAME = re.compile(r"[a-z0-9]+(?:[-.][a-z0-9]+)*")

_REFERENCE = re.compile(
    r"(?i).*\$\([\w./<-]+\s.*|.*\$\([^)]*|[:@/_-]?(?:\$\w+[:@/_-]?)+|"
    r".*\$\([\w.-]+\).*|\$\(.*|`.*|.*\$\{[^}]*\}.*|\$\w+|.*\{\{.*|.*%\(\w+\)s.*|<[a-z][a-z ._:-]*>|[*x•#.\-_]+|vault:.*|ref\+.*|secret(?:ref)?://.*|op://.*|env:[a-z_]\w*|arn:aws[\w-]*:.*"
    r"|projects/.*/secrets/.*|(?:file|ssm|sm|awssm|gcpsm|akv):.*|@\w+@|@/.*|enc\(.*\)|enc\[.*\]|enc:.*"
    r"|\{cipher\}.*|process\.env.*|os\.(?:environ|getenv).*|!\w+ .*"
    r"|null|none|nil|undefined|true|false|yes|no|on|off|enabled|disabled|required|optional|empty|redacted|masked|hidden|.*\*{3}.*"
    r"|\$(?:2[abxy]|argon2\w*|[156y])\$.*|\{(?:SSHA\d*|SHA\d*|PBKDF2|bcrypt|crypt)\}.*|SCRAM-SHA-256\$.*|sha(?:256|512)[:-].*"
)
#: What Kubernetes puts a variable in place of.
_VARIABLE = re.compile(r"\$\([\w.-]+\)")
_SWITCHES = re.compile(r"(?i)true|false|yes|no|on|off|enabled|disabled")
#: Words before `password` in names of switches: REQUIRE_PASSWORD, ALLOW_EMPTY_PASSWORD.
_SWITCHED = frozenset(
    {
        "require", "required", "allow", "empty", "use", "enable", "disable", "enabled", "with", "no", "random", "ask", "reset",
        "show", "hide", "generate", "skip", "force", "set", "change", "has", "need", "needs", "prompt", "forgot", "store",
        "save", "remember", "is", "check", "verify", "validate", "update", "auto", "rotate", "without", "disallow",
    }
)  # fmt: skip
_PAIR_NAME = re.compile(
    r"(?i).*basic_?(?:auth(?:entication|orization)?|credentials?)?|(?:.*_)?(?:http_auth|creds|user_?pass)"
)
_PAIR = re.compile(r"[\w.@+-]{1,60}:(?!\d{1,5}$)(?P<value>[^\s:/@]{3,})")
#: How programs take a password on their command line.
_PROGRAMS = re.compile(
    r"(?<![\w-])(?:curl\b[^|;&\n]{0,400}?\s(?:-u|--user)[\s=]?[\"']?[^\s:\"'$]{1,80}:(?P<a>[^\s\"'$|;&]{2,200})"
    r"|(?:mysql|mariadb)(?:-?dump|-?admin)?\b[^|;&\n]{0,400}?\s-p(?P<b>[^\s\"'$|;&-][^\s\"'$|;&]{2,200})"
    r"|redis-cli\b[^|;&\n]{0,400}?\s(?:-a|--pass)\s{1,8}[\"']?(?P<c>[^\s\"'$|;&]{3,200})"
    r"|sshpass\s{1,8}-p\s{0,8}[\"']?(?P<d>[^\s\"'$|;&]{2,200})"
    r"|mongo(?:sh|dump|restore|export|import)?\b[^|;&\n]{0,400}?\s-p\s{1,8}[\"']?(?P<e>[^\s\"'$|;&]{3,200})"
    r"|ldap(?:search|add|modify|whoami|passwd)\b[^|;&\n]{0,400}?\s-w\s{1,8}[\"']?(?P<f>[^\s\"'$|;&]{3,200})"
    r"|(?:docker|podman|nerdctl|oras|crane|skopeo)\b[^|;&\n]{0,200}?\slogin\b[^|;&\n]{0,200}?\s-p\s{1,8}[\"']?(?P<g>[^\s\"'$|;&]{3,200})"
    r"|rabbitmqctl\b[^|;&\n]{0,200}?\s(?:add_user|change_password)\s{1,8}\S{1,80}\s{1,8}[\"']?(?P<h>[^\s\"'$|;&]{3,200})"
    r"|lftp\b[^|;&\n]{0,200}?\s-u\s{1,8}[\"']?[^\s,]{1,80},(?P<j>[^\s\"'$|;&]{3,200})"
    r"|\bmc\s{1,8}(?:alias\s{1,8}set|config\s{1,8}host\s{1,8}add)(?:\s{1,8}[^\s|;&]{1,200}){3}\s{1,8}[\"']?(?P<k>[^\s\"'$|;&]{3,200})"
    r"|\baws\s{1,8}configure\s{1,8}set\s{1,8}aws_secret_access_key\s{1,8}[\"']?(?P<l>[^\s\"'$|;&]{3,200})"
    r"|\bhtpasswd\s{1,8}(?:-\w{1,8}\s{1,8}){0,4}-\w{0,4}b\w{0,4}(?:\s{1,8}-\w{1,8}){0,4}(?:\s{1,8}[^\s|;&$-][^\s|;&$]{0,100}){1,2}\s{1,8}[\"']?(?P<m>[^\s\"'$|;&>]{3,200})"
    r"|\becho\s{1,8}(?:-n\s{1,8})?[\"']?(?P<n>[^\s\"'$|;&]{3,200})[\"']?\s{0,8}\|\s{0,8}passwd\b"
    r"|\becho\s{1,8}[\"']?[\w.-]{1,80}:(?P<o>[^\s\"'$|;&]{3,200})[\"']?\s{0,8}\|\s{0,8}chpasswd\b"
    r"|(?<=\s)--?(?:[\w-]{0,40}password|[\w-]{0,40}passphrase|storepass|keypass)\s{1,8}[\"']?(?!-|[A-Z_]+\b)(?P<i>[^\s\"'$|;&<\[({]{3,200}))"
)
#: How SQL, and files of names and passwords, say a password.
_STATEMENTS = re.compile(
    r"(?im)\b(?:PASSWORD|IDENTIFIED(?:\s+WITH\s+\S+)?\s+BY)\s{1,8}'(?P<a>[^'\s$:{%]{3,200})'|\{(?:PLAIN|CLEARTEXT)\}(?P<b>[^\s:]{3,200})"
    r"|^\"[^\"\n]{1,80}\"[ \t]{1,8}\"(?!md5|SCRAM-)(?P<c>[^\"\s]{3,200})\"[ \t]*$"
)
_AS_ARGUMENT = "a password on a command line"

_DEFAULTED = re.compile(r"\$\{[\w.]+:-?(?P<value>[^}$]{3,})\}")
_FILE_PATH = re.compile(
    r"[./~][^\s:@]*/\S*|[\w.-]+\.(?:pem|key|crt|cert|jks|p12|pfx|json|ya?ml|txt|env|conf)|[a-z]+(?:/[\w.-]+)+"
)
#: What programs and their messages say in place of a value: `password: missing`, `password = env("P")`.
_PROSE = re.compile(
    r"(?i).*\b(?:passwords?|tokens?|secrets?|enter|please|your|forgot\w*|missing|invalid|incorrect|wrong|expired|must|should|cannot)\b.*"
    r"|[a-z_][\w.]*\(.*"
)
_URL = re.compile(r"(?i)[a-z][a-z0-9+.-]*://\S+")

_FORMS: Mapping[str, re.Pattern[str]] = {
    "a private key": re.compile(
        r"-----BEGIN [A-Z0-9 ]{0,25}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-\d|AGE-SECRET-KEY-1[0-9A-Z]{20,}"
    ),
    "a JSON web token": re.compile(r"\beyJ[\w-]{8,4000}\.eyJ[\w-]{4,4000}\.[\w-]{16,}"),
    "an AWS access key": re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Z0-9])"),
    "a URL with a password": re.compile(
        r"(?i)\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@\"'<>]{0,100}:(?P<value>\$\{[^}\s]*\}|[^\s\"'<>@]{1,200})@[\w\[$-]"
    ),
    "a connection string with a password": re.compile(
        r"(?i)(?<![\w.-])[\w.-]{1,100}:(?P<value>[^\s@:/\"']{3,100})@(?:tcp|unix)\(|\b(?:password|pwd|accountkey|sharedaccesskey)=(?P<other>[^;\s\"'&]{3,200})"
    ),
    "a signed URL": re.compile(r"[?&](?:sig|X-Amz-Signature|X-Goog-Signature)=[\w%+/=-]{32,}"),
    "HTTP credentials": re.compile(
        r"(?i)\b(?:basic\s+(?P<value>[a-z0-9+/]{8,}={0,2})(?![\w.-])|bearer\s+(?P<other>[a-z0-9._~+/=-]{16,}))"
        r"|(?i:authorization[\"']?\s{0,4}[:=,]?\s{0,4}[\"']?(?:token|api-?key|key)\s{1,4}(?:token=)?[\"']?)(?P<third>[\w.~+/=-]{12,})"
        r"|(?i:\blogin=[\w.-]{1,80}):(?P<fourth>[^\s@:]{3,100})"
    ),
    "a URL with a key": re.compile(
        r"(?i)[?&](?:api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret|subscription[_-]?key|token|password|passwd|secret)"
        r"=(?P<value>(?=[^&\s\"']{0,200}\d)[^&\s\"'<>#{}$]{8,200})"
    ),
    "a key of one-time passwords": re.compile(r"(?i)otpauth://[^\s\"']{1,300}[?&]secret=[A-Z2-7]{16,}"),
    "a key with its private part": re.compile(
        r"\{(?=[^{}]{0,4000}\"kty\")[^{}]{0,4000}\"[dk]\"\s{0,4}:\s{0,4}\"[\w-]{16,}\""
    ),
    "a secret in a configuration file": re.compile(
        r"(?m):[ \t]{0,8}(?:PSK|XAUTH|EAP)[ \t]{1,8}\"(?P<psk>[^\"\n$]{3,200})\""
        r"|^\[[\w.-]{1,200}\](?::\d{1,5})?[ \t]{1,8}[^\s:]{1,100}:(?P<sasl>\S{3,200})$"
        r"|\bHEX:(?P<ntp>[0-9A-Fa-f]{20,200})\b|\bsecret[ \t]{1,8}\"(?P<tsig>[A-Za-z0-9+/]{12,200}={0,2})\""
        r"|\busers[ \t]{0,4}=[ \t]{0,4}\[[ \t]{0,4}\"[\w.-]{1,80}:(?P<users>[^\"$\{][^\"\n]{2,200})\""
        r"|(?i:proxy_set_header|set-header|header_up|add_header)[ \t]{1,8}[\"']?[\w-]{0,40}(?i:key|token|secret)[\w-]{0,40}[\"']?"
        r"[ \t]{1,8}[\"']?(?P<header>[^\s\"';$%{]{8,200})"
    ),
}
_KNOWN = "a token of a known service"
_NAMED_AS = "a literal value under a name of secrets"
_ENTROPY = "a random value"
_TWO = "a user and password"

_NAMED = re.compile(
    r"(?<![\w.$\-])(?:--?D?)?(?P<name>[A-Za-z_][\w.\-]{0,80})\\?[\"']?[ \t]{0,8}(?::=|=>|[:=])[ \t]{0,8}\\?(?:\"\"\""
    r"|''')?(?P<value>[>|][-+]?[ \t]*\n[ \t]+\S{1,400}|\$\{[^}\s]*\}"
    r"|\"[^\"\\\n]{1,400}|'[^'\n]{1,400}"
    r"|[^\s\"'&,;{}\[\]\\][^\s\"',;{}\\]*)"
)
_BLOCK = re.compile(r"^[>|][-+]?[ \t]*\n\s+")  # of YAML, before a value on the next line
_PAIRED = re.compile(
    r"(?i)\bname\\?[\"']?\s{0,8}[:=]\s{0,8}\\?[\"']?(?P<name>[A-Za-z_][\w.\-]{0,80})\\?[\"']?\s{0,20},?\s{0,20}(?:-\s)?\\?[\"']?value\\?[\"']?\s{0,8}[:=]\s{0,8}\\?[\"']?"
    r"(?P<value>\$\{[^}\s]*\}|[^\s\"'&,;{}\[\]\\]{1,400})"
)
_PAIRED_BACKWARDS = re.compile(
    r"(?i)\bvalue\\?[\"']?\s{0,8}[:=]\s{0,8}\\?[\"']?(?P<value>\$\{[^}\s]*\}|[^\s\"'&,;{}\[\]\\]{1,400})\\?[\"']?\s{0,20},?\s{0,20}\\?[\"']?\bname\\?[\"']?"
    r"\s{0,8}[:=]\s{0,8}\\?[\"']?(?P<name>[A-Za-z_][\w.\-]{0,80})"
)
_DEFINED = re.compile(
    r"\bdefine\(\s{0,8}[\"'](?P<name>\w{1,80})[\"']\s{0,8},\s{0,8}[\"'](?P<value>[^\"'\n]{1,400})[\"']"
)
_PLAIN = re.compile(
    r"(?im)^[ \t]*(?P<name>\w{0,40}(?:password|passwd|passphrase|secret_key))"
    r"[ \t]{1,40}[\"']?(?P<value>[^\s\"'=:]{3,200})[\"']?[ \t]*;?[ \t]*$"
)
"""A name and a value on a line of their own, as Fluentd and Mosquitto have it."""
_TAGGED = re.compile(r"<(?P<name>[A-Za-z_][\w.\-]{0,80})>\s{0,8}(?P<value>[^<>\s]{1,400})\s{0,8}</")
_DIRECTIVE = re.compile(
    r"(?im)^[ \t]*(?:user\s+\S+.*?\s>(?P<user>\S{3,})"
    r"|(?:sentinel\s+auth-pass\s+\S+|user\s+\S+\s+insecure-password)\s+(?P<other>\S{3,})"
    r"|(?P<name>requirepass|masterauth|auth_pass|sasl_passwd"
    r"|bindpw)[ \t]+[\"']?(?P<value>[^\s\"']{3,})"
    r"|machine\s+\S+\s+login\s+\S+\s+password\s+(?P<netrc>\S{3,})|[\w.*-]+:(?:\d{2,5}|\*):[^:\s]*:[^:\s]+:(?P<pgpass>[^:\s]{3,}))"
)
_COMMENT = re.compile(r"(?m)^[ \t]*(?:#|//(?!\S{1,200}:_)|;).*$")  # but `//registry/:_authToken=` of npm
_ENVIRONMENT_OF = re.compile(r"(?m)^[ \t]*environment[ \t]*=[ \t]*(?=\w+=)")
_PSQL_VARIABLE = re.compile(r"(?i)\bPASSWORD\s{1,8}:'\w+'")
_FLAG = re.compile(r"-{1,2}(?:D)?(?P<name>[A-Za-z][\w.\-]*)(?:=(?P<value>.*))?", re.DOTALL)

_EXAMPLE_HOST = re.compile(
    r"(?i)(?<![\w.-])(?:[\w-]+\.)*(?:example\.(?:com|org|net)|(?<=@)(?:test|domain|email|company|yourcompany|mycompany)\.com|(?:your|my)-?(?:domain|company|site)\.[a-z]{2,})(?![\w-]|\.\w)"
    r"|(?:(?<=://)|(?<=@))(?:(?:[\w-]+\.)+(?:test|invalid|tld|example)|(?:foo|bar)\.(?:bar|baz|com))(?![\w-]|\.\w)"
    r"|https?://[\w.-]*<[a-z][\w -]{0,40}>"
)
_PLACEHOLDERS: Sequence[tuple[str, re.Pattern[str]]] = (
    (
        "a value to be changed",
        re.compile(
            r"(?i)(?:\S*[^a-z\s])?(?:change[-_ ]?(?:me|this)|change[-_]?it|replace[-_ ]?(?:me|this)|set[-_ ]me|fill[-_ ]?me"
            r"|fix[-_]?me)"
            r"(?:[-_ ]?(?:now|in|please|later))?(?:[^a-z\s]\S*)?"
        ),
    ),
    (
        "a placeholder",
        re.compile(
            r"(?i)(?:todo|tbd|placeholder|dummy|insert[-_ ]\S*[-_ ]?here|to[-_]be[-_](?:changed|replaced|defined|set)"
            r"|\S*replace[-_]with\S*|<[a-z][\w .:-]{1,60}>|\[(?:your|insert|enter|change)[^\]]*\]|n/?a)"
        ),
    ),
    (
        "a placeholder",
        re.compile(
            r"(?i)\S{0,40}?(?<![a-z])your[-_]?(?:own[-_]?)?(?:super[-_]?)?(?:api|secret|access|auth|db|database|pass(?:word"
            r"|wd)?|token|key|domain|company|org|project|user(?:name)?|host(?:name)?|email|bucket|account|client|app"
            r"|tenant|webhook|jwt|server)\S*"
        ),
    ),
    (
        "a placeholder",
        re.compile(
            r"(?i)(?:sk|pk|rk|key|ghp|xox[bp]|api|token|akia)?(?:[-_](?:live|test|proj|ant|key))?[-_]?x{3,}[-_x]*|\.{3}"
            r"|\*{3,}|0{16,}"
        ),
    ),
    (
        "a placeholder",
        re.compile(
            r"(?i)(?:sk|pk|key|token|api)[-_](?:\.{3}|replace\S*|your\S*|changeme|test)|your[-_]\w{1,20}[-_](?:key|token|secret|password|id)"
            r"|my[-_]?bucket"
        ),
    ),
    (
        "a documented example key",
        re.compile(
            r"AKIA\w*EXAMPLE|wJalrXUtnFEMI/K7MDENG\S*|6LeIxAcTAAAAA\w+[-\w]*|[123]x0{10,}[A-Z]+|10000000-ffff-ffff-ffff-000000000001"
            r"|https://(?:examplePublicKey|public)@\S+|\+15005550\d{3}|https://hooks\.slack\.com/services/T0{6,}/\S*|Eby8vdM02xNOcqFlqUwJPLlmEtlC\S+"
            r"|(?i:your[-_!@.]?strong\S{0,20}pass\S*)|0x0{16,}|0{8}-(?:0{4}-){3}0{12}|(?:G|UA|GTM|AW)-(?:X{4,}|0{4,})(?:-\w+)?"
        ),
    ),
    ("a test key of Stripe", re.compile(r"[srp]k_test_\w{8,}")),
    ("a test key of Razorpay", re.compile(r"rzp_test_\w{8,}")),
    (
        "an emulator of a cloud",
        re.compile(
            r"(?i)UseDevelopmentStorage=true;?|https?://(?:localstack|azurite|stripe-mock|wiremock|mockserver)(?:[:/.].*)?"
        ),
    ),
    (
        "a mail server that delivers nothing",
        re.compile(
            r"(?i)(?:smtps?://(?:\S{1,200}@)?)?(?:mailhog|mailpit|mailcatcher|maildev|(?:sandbox\.)?smtp\.mailtrap\.io|smtp\.ethereal\.email)(?:[:/.].*)?"
        ),
    ),
)
_DEFAULT_PASSWORDS = frozenset(
    {
        "password", "password1", "passw0rd", "p@ssw0rd", "postgres", "mysql", "mongo", "redis", "rabbitmq", "grafana",
        "admin", "administrator", "root", "toor", "guest", "secret", "test", "default", "qwerty", "letmein", "welcome",
        "123456", "1234", "12345678", "123456789", "minioadmin", "supersecret", "super-secret", "super_secret",
        "mysecretpassword", "mysecret", "my-secret", "secret-key", "secretkey", "changeit", "foobared", "prom-operator",
        "elastic", "neo4j", "example", "user", "s3cr3t", "your-256-bit-secret", "sa", "abc123", "pass", "keyboard cat",
        "shhhhh", "foobar", "insecure", "iloveyou", "admin@123", "pass@word", "test-key", "testkey", "dev",
        "development", "demo", "sample", "mock", "abcdef", "demo_key", "demo-key",
    }
)  # fmt: skip
#: Secrets as tutorials write them: my-super-secret-key, thisisasecret, jwt_secret_key.
_SPOKEN = re.compile(
    r"(?i)(?:(?:my|super|very|this|is|a|the|some|your|our|test|dev|default|jwt|app|api|session|django|flask|node|top|long|random"
    r"|secure|really|not|so)[-_ ]?)+(?:secret|password|token|key|string)(?:[-_ ]?(?:key|here|string|value|password|token|for|dev"
    r"|test|prod))*[-_ ]?\d{0,4}"
)
_SEQUENCE = re.compile(
    r"(?i)(.)\1{7,}|(?:0123456789abcdef)+|(?:1234567890)+|0123456789|abcdefgh\w*|(?:deadbeef|cafebabe)+"
)
"""What is as long as a key, and nobody has drawn."""
_UNRENDERED = re.compile(
    r"\{\{.*\}\}|__\w+__|%%\w+%%|%[A-Z_]{3,}%|@@?\w+@@?|\[[a-z]+[-_ ](?:key|token|secret|password)\]"
    r"|#\{[\w.]+\}#?|<<[\w .-]+>>|\[\[[\w .-]+\]\]|\[[A-Z][A-Z0-9_ -]{2,}\]"
)
_STORE_URL = re.compile(
    r"(?i)(?:jdbc:)?(?:postgres(?:ql)?|mysql|mariadb|sqlserver|mongodb|redis|rediss|amqps?|nats|neo4j|bolt|memcached|clickhouse|cassandra)"
    r"(?:\+\w+)?://(?:[^\s/@]*@)?(?:localhost|127\.0\.0\.1|\[::1\])(?![\w.-])"
)
_STORE_HOST = re.compile(
    r"(?i)(?:.*_)?(?:db|database|postgres\w*|pg|mysql|mongo\w*|redis|rabbitmq|nats|neo4j|qdrant|kafka|elastic\w*|opensearch|clickhouse"
    r"|cassandra|memcached?|zookeeper|minio)_?(?:bootstrap_?)?(?:hosts?|hostname|servers?|addr|address(?:es)?|brokers?|nodes|url|endpoint)"
)
_LOCAL = re.compile(r"(?i)(?:https?://)?(?:localhost|127\.0\.0\.1|\[?::1\]?)(?::\d{1,5})?/?")
_PUBLIC_URL = re.compile(
    r"(?i)(?:.*_)?(?:base|public|app|site|frontend|external|root|callback|redirect|website|home|canonical)_?ur[il]"
)
_DEVELOPER_HOST = re.compile(r"(?i)(?<![\w.-])(?:host|kubernetes|gateway)\.docker\.internal(?![\w.-])")
_SANDBOX = re.compile(
    r"(?i)https?://(?:[\w-]+\.)*sandbox\.[\w.-]+\.[a-z]{2,}(?:[:/].*)?|https?://[\w.-]+\.sandbox\.[a-z]{2,}(?:[:/].*)?"
)
_STAGE = re.compile(
    r"(?i)https?://(?:[\w-]+\.)*(?:staging|stage|stg|qa|uat|preprod|develop|development|(?:dev|test)(?!\.(?:azure|mysql|pypi)\.))\.(?:[\w-]+\.)+[a-z]{2,}(?:[:/].*)?"
)
_ENVIRONMENTS = frozenset(
    {
        "NODE_ENV", "RAILS_ENV", "RACK_ENV", "APP_ENV", "FLASK_ENV", "ASPNETCORE_ENVIRONMENT", "DOTNET_ENVIRONMENT",
        "SPRING_PROFILES_ACTIVE", "DJANGO_ENV", "MIX_ENV", "SYMFONY_ENV", "QUARKUS_PROFILE", "MICRONAUT_ENVIRONMENTS",
    }
)  # fmt: skip
_OTHER_ENVIRONMENT = re.compile(
    r"(?i)(?:.*,)?(?:dev(?:elop(?:ment|er)?)?|test(?:ing)?|local|debug|qa|uat|stag(?:e|ing)|sandbox|example)(?:,.*)?"
)
_OTHER_MODE = re.compile(r"(?i)dev(?:elopment)?|test(?:ing)?|debug|sandbox")
_OTHER_MODULE = re.compile(r"(?i)[\w.]+\.(?:dev(?:elopment)?|local|test(?:ing)?|staging)")
_DEBUG = frozenset({"DEBUG", "FLASK_DEBUG", "APP_DEBUG", "DJANGO_DEBUG", "NODE_DEBUG", "WDS_DEBUG"})
_DEBUG_ON = re.compile(r"(?i)true|1|yes|on|\*")
_DATABASE_WORDS = (
    "db",
    "database",
    "postgres",
    "postgresql",
    "pg",
    "mysql",
    "mariadb",
    "mongo",
    "mongodb",
    "redis",
    "neo4j",
    "sql",
    "dsn",
    "jdbc",
)
_PRECISE_ID = frozenset(
    {
        "sha", "digest", "hash", "commit", "revision", "checksum", "id", "uuid", "version", "tag", "image", "ca", "cert",
        "certificate", "crt", "public", "pub", "fingerprint", "nonce", "dsn", "url", "uri", "path", "build", "etag", "pem",
        "bundle", "name", "sitekey", "publishable",
    }
)  # fmt: skip
_RANDOM = re.compile(r"[A-Za-z0-9+/_=-]{24,512}")


def in_setting(name: str, value: str) -> tuple[Finding, ...]:
    """What a setting of a workload breaks: an environment variable, or an entry of a ConfigMap that is no file."""
    found = [*_forms(name, value), *_placeholder(name, value)]
    if _kind(_words(name)) and not _OBJECT_WORDS & set(_words(name)) and _SPOKEN.fullmatch(value.strip()):
        found.append(Finding(Sort.PLACEHOLDER, shown(name), "a secret of examples"))
    if _is_spelt_out(name, value.strip()):
        found.append(Finding(Sort.SECRET, shown(name), _NAMED_AS))
    pair = _PAIR.fullmatch(value.strip()) if _PAIR_NAME.fullmatch(name) else None
    if pair and not _REFERENCE.fullmatch(pair["value"]):
        found.append(Finding(Sort.SECRET, shown(name), _TWO))
    if not any(one.sort is Sort.SECRET for one in found):
        if _is_secret(name, value):
            found.append(Finding(Sort.SECRET, shown(name), _NAMED_AS))
        elif _is_random(name, value):
            found.append(Finding(Sort.SECRET, shown(name), _ENTROPY))
        elif any(mark in value for mark in "=:"):
            found += _named(value)
    if any(mark in value for mark in " }"):
        found += _as_argument(name, value)
    return tuple(dict.fromkeys(found))


def in_text(name: str, text: str) -> tuple[Finding, ...]:
    """What a file of any format breaks. Comments count only where they hold a key or token of a known form."""
    found = [*_forms(name, text)]
    uncommented = _ENVIRONMENT_OF.sub("", _PSQL_VARIABLE.sub("", _COMMENT.sub("", text)))
    found += _named(uncommented)
    found += _as_argument(name, uncommented)
    for match in _DIRECTIVE.finditer(uncommented):
        value = next(filter(None, match.group("user", "other", "value", "netrc", "pgpass")), "")
        if not _REFERENCE.fullmatch(value):
            found.append(Finding(Sort.SECRET, shown(match["name"] or name), _NAMED_AS))
            found += _placeholder(match["name"] or "password", value)
    return tuple(dict.fromkeys(found))


def in_arguments(arguments: Iterable[str]) -> tuple[Finding, ...]:
    """What a command line breaks: `--password=…`, `--password …`, and what a setting or a script would."""
    arguments = tuple(arguments)
    found: list[Finding] = list(_as_argument("the command line", " ".join(arguments)))
    flag = ""
    for argument in arguments:
        if flag and not argument.startswith("-"):
            found += in_setting(flag.replace("-", "_"), argument)
            if flag == "user" and (pair := _PAIR.fullmatch(argument)) and _has_own_part(pair["value"]):
                found.append(Finding(Sort.SECRET, flag, _TWO))
        match = _FLAG.fullmatch(argument)
        if match and match["value"] is not None:
            found += in_setting(match["name"], match["value"])
        elif not match:
            found += in_text("the command line", argument)
        flag = match["name"] if match and match["value"] is None else ""
    return tuple(dict.fromkeys(found))


def _as_argument(name: str, text: str) -> Iterator[Finding]:
    for match in (*_PROGRAMS.finditer(text), *_STATEMENTS.finditer(text)):
        value = next(filter(None, match.groups()), "")
        if not _REFERENCE.fullmatch(value):
            yield Finding(Sort.SECRET, shown(name), _AS_ARGUMENT)


def is_credential(name: str) -> bool:
    """Whether a variable of this name is for signing in to a database."""
    words = _words(name)
    stores = any(word in _DATABASE_WORDS or word.startswith(("pgpass", "pguser", "mysql")) for word in words)
    return stores and (
        _kind(words) != "" or words[-1] in ("url", "uri", "dsn", "user", "username", "string") or "pguser" in words
    )


def shown(name: str) -> str:
    """A name for a sentence, unless it may be a secret itself."""
    secret = len(name) > 120 or _has_token(name) or any(pattern.search(name) for pattern in _FORMS.values())
    return "a key that looks like a secret" if secret else name


def _named(text: str) -> Iterator[Finding]:
    for pattern in (_NAMED, _PAIRED, _PAIRED_BACKWARDS, _TAGGED, _DEFINED, _PLAIN):
        for match in pattern.finditer(text):
            name, value = match["name"], _BLOCK.sub("", match["value"]).strip("\"'").rstrip()
            if _is_secret(name, value, in_file=pattern not in (_PAIRED, _PAIRED_BACKWARDS)):
                yield Finding(Sort.SECRET, shown(name), _NAMED_AS)
            if name.lower() not in ("http", "https"):
                yield from _placeholder(name, value)


def _forms(name: str, value: str, *, nested: bool = False) -> Iterator[Finding]:
    for rule, pattern in _FORMS.items():
        if any(_counts(match) for match in pattern.finditer(value)):
            yield Finding(Sort.SECRET, shown(name), rule)
    if _has_token(value):
        yield Finding(Sort.SECRET, shown(name), _KNOWN)
    if not nested and "%3A%2F%2F" in value.upper():
        yield from _forms(name, unquote(value), nested=True)
    if not nested:
        for word in re.findall(r"[A-Za-z0-9+/_-]{12,}={0,2}", value)[:200]:
            if (decoded := _decoded(word)) is None:
                continue
            if any(_forms(name, decoded, nested=True)) or _DOCKER_AUTH.search(value):
                yield Finding(Sort.SECRET, shown(name), "an encoded secret")
                return


_DOCKER_AUTH = re.compile(r"\"auth\"\s*:\s*\"[A-Za-z0-9+/]{8,}={0,2}\"")


def _decoded(word: str) -> str | None:
    """The text that is encoded in base64; None where it is none."""
    try:
        text = base64.b64decode(
            word + "=" * (-len(word) % 4), altchars=b"-_" if set("-_") & set(word) else None, validate=True
        ).decode()
    except (ValueError, binascii.Error):
        return None
    return text if (len(text) >= 8 and text.isprintable()) or "-----BEGIN" in text else None


def _counts(match: re.Match[str]) -> bool:
    """Whether the part that is the secret is neither a reference nor a port."""
    groups = match.re.groupindex
    if not groups:
        return True
    value = next(filter(None, (match[name] for name in groups)), "")
    return not _REFERENCE.fullmatch(_own(value)) and not re.fullmatch(r"\d{1,5}(?:/.*)?", value)


def _own(value: str) -> str:
    """The default within `${NAME:-default}`; else the value itself."""
    match = _DEFAULTED.fullmatch(value)
    return match["value"] if match else value


def _has_token(value: str) -> bool:
    return any(pattern.search(value) for pattern in known_tokens())


def _kind(words: Sequence[str]) -> str:
    """`password`, `token` or nothing, for the words of a name."""
    left = list(words)
    while len(left) > 1 and (left[-1].isdigit() or left[-1] in _TRAILING):
        left.pop()
    if not left:
        return ""
    last, before = left[-1], left[-2] if len(left) > 1 else ""
    if last.endswith(_PASSWORDS) or last in _SHORT_PASSWORDS:
        return "password"
    if last.endswith(_TOKENS) and before not in _HARMLESS_BEFORE:
        return "token"
    if (last == "key" and before in _KEYS) or last in ("salt", "pepper"):
        return "token"
    if last == "auth" and before.startswith(_AUTHS):
        return "token"
    return ""


def _is_secret(name: str, value: str, *, in_file: bool = False) -> bool:
    words = _words(name)
    kind, own = _kind(words), _own(value.strip())
    if (
        words[-1:] == ["key"]
        and not _NAMING_KEYS & set(words)
        and re.fullmatch(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{48}|[0-9a-fA-F]{64}|[0-9a-fA-F]{128}", own)
    ):
        return True
    if kind == "password" and not in_file and _SWITCHES.fullmatch(own):
        return not _SWITCHED & set(words) and words[-1] != "passwords" and own.lower() in ("yes", "no", "on", "off")
    if kind and _VARIABLE.search(own) and _has_own_part(own):
        return True
    if in_file and own not in _DEFAULT_PASSWORDS and _PROSE.fullmatch(own):
        return False
    if not kind or not own or _REFERENCE.fullmatch(own) or _FILE_PATH.fullmatch(own):
        return False
    if {"checksum", "digest", "hash", "sha"} & set(words) and re.fullmatch(r"[0-9a-f]{32,128}", own):
        return False
    if kind == "password":
        return not (in_file and len(own) < 3)
    if len(own) < 4 or _URL.fullmatch(own) or re.fullmatch(r"\d{1,7}(?:\.\d+)?[smhd]?", own):
        return False
    named_object = in_file or not words or bool(_OBJECT_WORDS & set(words)) or words[-2:] in _SECRETS_OF
    return not (named_object and _OBJECT_NAME.fullmatch(own) and not any(char.isdigit() for char in own))


def _is_spelt_out(name: str, value: str) -> bool:
    """Whether a value is a key in words (of a wallet), or Neo4j's user and password."""
    words = _words(name)
    if name.upper() == "NEO4J_AUTH":
        user, _, password = value.partition("/")
        return bool(user and password) and not _REFERENCE.fullmatch(password)
    in_words = "mnemonic" in words or words[-2:] in (["seed", "phrase"], ["recovery", "phrase"], ["seed", "words"])
    return in_words and _MNEMONIC.fullmatch(value) is not None


_MNEMONIC = re.compile(r"(?:[a-z]{3,8} ){11,23}[a-z]{3,8}")


def _has_own_part(value: str) -> bool:
    """Whether a value is more than the variables in it: `a$(B)c4nary`, unlike `Bearer $(B)`."""
    rest = _VARIABLE.sub("", value)
    return (
        not _URL.fullmatch(value) and len(rest) >= 6 and bool(re.search(r"[A-Za-z]", rest) and re.search(r"\d", rest))
    )


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _is_random(name: str, value: str) -> bool:
    """Whether a value is as random as keys are, under a name that is not known to hold such a value."""
    if not _RANDOM.fullmatch(value) or _PRECISE_ID & {word.lower() for word in _WORDS.findall(name)}:
        return False
    if value.count("/") > 2 or value.startswith("/") or re.fullmatch(r"[0-9a-fA-F-]+", value):
        return False
    classes = sum(any(test(char) for char in value) for test in (str.isupper, str.islower, str.isdigit))
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
    return classes == 3 and entropy >= 4.0 and len(re.findall(r"\d", value)) >= 2


_ALSO_SECRETS = frozenset({"AWS_ACCESS_KEY_ID", "NEO4J_AUTH"})
"""Names that do not sound like a secret's, of what has defaults."""


def _placeholder(name: str, value: str) -> Iterator[Finding]:
    own = _own(value.strip())
    upper, words = name.upper(), _words(name)
    if not own or "\n" in own:
        return
    kind = _kind(words) or ("token" if upper in _ALSO_SECRETS else "")
    if upper == "NEO4J_AUTH":
        own = own.removeprefix("neo4j/")
    for rule, pattern in _PLACEHOLDERS:
        if pattern.fullmatch(own) and not (own.lower() in ("n/a", "na", "...", "***") and not kind):
            yield Finding(Sort.PLACEHOLDER, shown(name), rule)
            return
    url = re.search(r"(?i)://[^\s/:@]*:([^\s@/]+)@", own)
    password = url[1] if url else own
    default = _is_default(password) and not (password.istitle() and password.isalpha())
    if (kind or url) and (default or (url and _is_placeholder(password))):
        yield Finding(Sort.PLACEHOLDER, shown(name), "a default password")
    if kind and _SEQUENCE.fullmatch(own):
        yield Finding(Sort.PLACEHOLDER, shown(name), "a placeholder")
    elif words[-2:] == ["emulator", "host"] or (words[:1] == ["mock"] and _DEBUG_ON.fullmatch(own)):
        yield Finding(Sort.PLACEHOLDER, shown(name), "an emulator or mock")
    elif kind and _UNRENDERED.fullmatch(own):
        yield Finding(Sort.PLACEHOLDER, shown(name), "a template that was not rendered")
    elif (
        kind and not _OBJECT_WORDS & set(words) and not default and is_filler(own, of_password=_ends_as_password(words))
    ):
        yield Finding(Sort.PLACEHOLDER, shown(name), "a placeholder")
    yield from _misdirected(name, own)
    if _is_elsewhere(upper, words, own):
        yield Finding(Sort.PLACEHOLDER, shown(name), "an environment other than production")
    if (upper in _DEBUG or words[-1:] == ["debug"]) and _DEBUG_ON.fullmatch(own):
        yield Finding(Sort.PLACEHOLDER, shown(name), "debugging switched on")


def _ends_as_password(words: Sequence[str]) -> bool:
    last = words[-1] if words else ""
    return last.endswith(_PASSWORDS) or last in _SHORT_PASSWORDS


def _misdirected(name: str, own: str) -> Iterator[Finding]:
    """Addresses that are none of production."""
    if _EXAMPLE_HOST.search(own):
        yield Finding(Sort.PLACEHOLDER, shown(name), "an example domain")
    if _STORE_URL.search(own) or (
        _STORE_HOST.fullmatch(name) and all(_LOCAL.fullmatch(one.strip()) for one in own.split(","))
    ):
        yield Finding(Sort.PLACEHOLDER, shown(name), LOCALHOST)
    if _DEVELOPER_HOST.search(own):
        yield Finding(Sort.PLACEHOLDER, shown(name), "a host of a developer's machine")
    if _PUBLIC_URL.fullmatch(name) and _LOCAL.match(own) and not _STORE_URL.search(own):
        yield Finding(Sort.PLACEHOLDER, shown(name), "a public address on localhost")
    if _SANDBOX.fullmatch(own):
        yield Finding(Sort.PLACEHOLDER, shown(name), "the address of a sandbox")
    elif _STAGE.fullmatch(own):
        yield Finding(Sort.PLACEHOLDER, shown(name), "an address of another environment")


def _is_elsewhere(name: str, words: Sequence[str], value: str) -> bool:
    """Whether a setting says that this is another environment than production."""
    if name in _ENVIRONMENTS or words[-1:] in (["env"], ["environment"]):
        return bool(_OTHER_ENVIRONMENT.fullmatch(value))
    if name == "DJANGO_SETTINGS_MODULE":
        return bool(_OTHER_MODULE.fullmatch(value))
    return words[-1:] == ["mode"] and not {"log", "test"} & set(words) and bool(_OTHER_MODE.fullmatch(value))


def _is_default(password: str) -> bool:
    """Whether a password is one that everybody tries, with or without a number or mark behind it."""
    lower = password.lower()
    return lower in _DEFAULT_PASSWORDS or lower.rstrip("0123456789!.#$@_-") in _DEFAULT_PASSWORDS - {
        "test",
        "user",
        "sa",
        "pass",
    }


def _is_placeholder(value: str) -> bool:
    return any(pattern.fullmatch(value) for _, pattern in _PLACEHOLDERS)
