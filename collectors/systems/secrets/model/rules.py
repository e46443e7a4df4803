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
from collectors.systems.secrets.model.commands import passwords_in
from collectors.systems.secrets.model.defaults import is_default
from collectors.systems.secrets.model.names import NAMING_KEYS, OBJECT_WORDS, kind_of, own_value, words_of
from collectors.systems.secrets.model.placeholders import placeholder_rules

__all__ = ["Finding", "Sort", "in_arguments", "in_setting", "in_text", "is_credential", "shown"]


class Sort(StrEnum):
    """What a finding is."""

    SECRET = "secret"  # noqa: S105 - the name of a sort
    PLACEHOLDER = "placeholder"


class Finding(Struct, frozen=True):
    """The name of a setting, and the rule that its value breaks; never the value."""

    sort: Sort
    name: str
    rule: str


_SECRETS_OF = (["password", "secret"], ["credentials", "secret"], ["auth", "secret"])
_OBJECT_NAME = re.compile(r"[a-z0-9]+(?:[-.][a-z0-9]+)*")

_REFERENCE = re.compile(
    r"(?i).*\$\([\w./<-]+\s.*|.*\$\([^)]*|[:@/_-]?(?:\$\w+[:@/_-]?)+|"
    r"\$\$?[a-z][\w-]*(?:[.:][\w.-]+)+|\$\$\w+|<%.*|%\{.*|enc\[aes\w*"
    r"|.*\$\([\w.-]+\).*|\$\(.*|`.*|.*\$\{[^}]*\}.*|\$\w+|.*\{\{.*|.*%\(\w+\)s.*|<[a-z][a-z ._:-]*>|[*x•#.\-_]+|vault:.*|ref\+.*|secret(?:ref)?://.*|op://.*|env:[a-z_]\w*|arn:aws[\w-]*:.*"
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
        "save", "remember", "native",
        "expired", "is", "check", "verify", "validate", "update", "auto", "rotate", "without", "disallow",
    }
)  # fmt: skip
_PAIR_NAME = re.compile(
    r"(?i).*basic_?(?:auth(?:entication|orization)?|credentials?)?|(?:.*_)?(?:http_auth|creds|user_?pass)"
)
_PAIR = re.compile(r"[\w.@+-]{1,60}:(?!\d{1,5}$)(?P<value>[^\s:/@]{3,})")
_AS_ARGUMENT = "a password on a command line"

_FILE_PATH = re.compile(
    r"[./~][^\s:@]*/\S*|[\w.-]+\.(?:pem|key|crt|cert|jks|p12|pfx|json|ya?ml|txt|env|conf)|[a-z]+(?:/[\w.-]+)+"
)
#: What programs and their messages say in place of a value: `password: missing`, `password = env("P")`.
_PROSE = re.compile(
    r"(?i).*\b(?:passwords?|tokens?|secrets?|enter|please|your|forgot\w*|missing|invalid|incorrect|wrong|expired|must|should|cannot)\b.*"
    r"|(?:kennwort|passwort|mot de passe|contraseña|clave|senha|wachtwoord|hasło|parola|пароль|jeton|schlüssel|geheimnis)\b.*"
    r"|string|str|bytes|number|boolean|any|[a-z_][\w.]*(?:\(.*|\[)"
)
_URL = re.compile(r"(?i)[a-z][a-z0-9+.-]*://\S+")

_HTTP = "HTTP credentials"
_FORMS: Mapping[str, re.Pattern[str]] = {
    "a private key": re.compile(
        r"-----BEGIN [A-Z0-9 ]{0,25}PRIVATE KEY(?: BLOCK)?-----(?!(?:\\n|[\s#*;/]){1,40}(?:\.{3}|…|<|\{\{|\$\{|x{3}))"
        r"|PuTTY-User-Key-File-\d|AGE-SECRET-KEY-1[0-9A-Z]{20,}"
        r"|\bS[UAONCX][A-Z2-7]{56}\b"
    ),
    "a JSON web token": re.compile(
        r"\beyJ[\w-]{8,4000}\.eyJ[\w-]{4,4000}\.[\w-]{16,}|\bsk\.eyJ[\w-]{8,4000}\.[\w-]{16,}"
    ),
    "an AWS access key": re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Z0-9])"),
    "a URL with a password": re.compile(
        r"(?i)\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@\"'<>]{0,100}:(?P<value>\$\{[^}\s]*\}|[^\s\"'<>@]{1,200})@[\w\[$-]"
        r"|\bhttps?://(?![0-9a-f]{32}@)(?P<user>(?=(?:[a-z_]{0,200}\d){3})(?=\w{0,200}[a-z])\w{20,200})@\w"
    ),
    "a connection string with a password": re.compile(
        r"(?i)(?<![\w.-])[\w.-]{1,100}:(?P<value>[^\s@:/\"']{3,100})@(?:tcp|unix)\(|(?<![\w./-])[\w$#]{1,30}/(?P<oracle>[^\s@/\"']{3,100})@(?://[\w.-]|[\w.-]{1,200}:\d{2,5}[:/]\w)"
        r"|(?<![\w./-])[\w.-]{1,60}:(?P<plain>[^\s@:/,\"']{3,100})@[\w.-]{1,200}:\d{2,5}\b"
        r"|\b(?:password|pwd|accountkey|sharedaccesskey)=(?P<other>[^;\s\"'&]{3,200})(?=[;\s\"'&]|$)"
        r"(?![ \t]{1,8}[A-Za-z]{1,30}(?:[ \t.!?]|$|\n))"
    ),
    "a signed URL": re.compile(r"[?&](?:sig|X-Amz-Signature|X-Goog-Signature)=[\w%+/=-]{32,}"),
    _HTTP: re.compile(
        r"(?i)\b(?:basic\\?\s+(?P<value>[a-z0-9+/]{8,}={0,2})(?![\w.-])|bearer\\?\s+(?P<other>(?=[^\s\d]{0,200}\d)[a-z0-9._~+/=-]{16,}))"
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
        r"(?m):[ \t]{0,8}(?:PSK|XAUTH|EAP)[ \t]{1,8}(?:\"(?P<psk>[^\"\n$]{3,200})\"|(?P<bare>[^\s\"$%]{3,200}))"
        r"|<auth-user-pass>\s{1,8}\S{1,100}\s{1,8}(?P<vpn>\S{3,200})\s{1,8}</auth-user-pass>"
        r"|^[^\s#]{1,100}[ \t]{1,8}\*[ \t]{1,8}(?P<chap>(?=\S{0,200}\d)(?=\S{0,200}[A-Za-z])[^\s*]{3,200})[ \t]{1,8}\*$"
        r"|\bstatic:[^:\s]{1,100}:(?P<static>[^\s:$]{3,200})"
        r"|\bcreateUser[ \t]{1,8}\S{1,80}[ \t]{1,8}(?:SHA|MD5)[-\d]{0,4}[ \t]{1,8}\"?(?P<snmp>[^\s\"$]{3,200})"
        r"|\bchpasswd:[^#]{0,120}?\b[\w.-]{1,40}:(?P<cloud>[^\s$*:|>{]{3,200})"
        r"|^\[[\w.-]{1,200}\](?::\d{1,5})?[ \t]{1,8}[^\s:]{1,100}:(?P<sasl>\S{3,200})$"
        r"|\buser_\w{1,40}[ \t]{0,4}=[ \t]{0,4}\"(?P<jaas>[^\"\n$]{3,200})\""
        r"|\bHEX:(?P<ntp>[0-9A-Fa-f]{20,200})\b|\bsecret[ \t]{1,8}\"(?P<tsig>[A-Za-z0-9+/]{12,200}={0,2})\""
        r"|^(?://\S{1,200}:)?_auth[ \t]{0,4}=[ \t]{0,4}\"?(?P<npm>[A-Za-z0-9+/]{8,200}={0,2})"
        r"|\{[ \t]{0,4}\w{0,40}(?:pass|password|passwd)[ \t]{0,4},[ \t]{0,4}(?:<<)?\"(?P<erlang>[^\"\n$]{3,200})\""
        r"|\{[ \t]{0,4}\"(?:cn|uid)=[^\"\n]{1,200}\",[ \t]{0,4}\"(?P<bind>[^\"\n$]{3,200})\""
        r"|\bsecure_link_md5[ \t]{1,8}\"[^\"\n]{1,200}?[ \t](?P<link>[^\s\"$]{6,200})\""
        r"|\bhttpHeaderValue\d{1,2}\"?[ \t]{0,4}:[ \t]{0,4}[\"']?(?P<grafana>[^\s\"'$<{]{8,200})"
        r"|\bclear-text=\"(?P<wildfly>[^\"\n$]{3,200})\"|^user=[\w.-]{1,80}:(?P<turn>[^\s:/@]{6,200})$"
        r"|^[ \t]{0,8}(?:neighbor[ \t]{1,4}\S{1,80}|enable)[ \t]{1,4}password[ \t]{1,4}(?P<bgp>\S{3,200})$"
        r"|^secrets:[ \t]{0,4}\n[ \t]{1,8}(?:cookie|cipher|system):"
        r"[ \t]{0,4}\n[ \t]{0,12}-[ \t]{1,4}[\"']?(?P<ory>[^\s\"'$<{]{8,200})"
        r"|\bsecret:\s{1,40}inline_string:[ \t]{1,4}[\"']?(?P<envoy>[^\s\"'$<{]{3,200})"
        r"|\busers[ \t]{0,4}=[ \t]{0,4}\[[ \t]{0,4}\"[\w.-]{1,80}:(?P<users>[^\"$\{][^\"\n]{2,200})\""
        r"|(?i:proxy_set_header|set-header|header_up|add_header)[ \t]{1,8}[\"']?[\w-]{0,40}(?i:key|token|secret)[\w-]{0,40}[\"']?"
        r"[ \t]{1,8}[\"']?(?P<header>(?=\D{0,200}\d)[^\s\"';$%{]{8,200})"
        r"|(?i:\bx[-_][\w-]{0,40}(?:token|key|secret)[\w-]{0,40})"
        r"[ \t]{0,4}(?:[!=]=|[!=]?~)[ \t]{0,4}\"(?P<compared>[\w.~+/=-]{8,200})\""
    ),
}
_KNOWN = "a token of a known service"
_NAMED_AS = "a literal value under a name of secrets"
_ENTROPY = "a random value"
_TWO = "a user and password"

_NAMED = re.compile(
    r"(?<![\w.$\-])(?:--?D?)?(?P<name>[A-Za-z_][\w.\-]{0,80})\\?[\"']?\]?[ \t]{0,8}(?::=|=>|::|\|\|=|[:=])[ \t]{0,8}\\?(?:\"\"\""
    r"|''')?(?P<value>[>|][-+]?[ \t]*\n[ \t]+\S{1,400}|\$\{[^}\s]*\}"
    r"|\"[^\"\\\n]{1,400}|'[^'\n]{1,400}"
    r"|[^\s\"'&,;{}\[\]\\][^\s\"',;{}\\]*)"
)
_BLOCK = re.compile(r"^[>|][-+]?[ \t]*\n\s+")  # of YAML, before a value on the next line
_PAIRED = re.compile(
    r"(?i)\b(?:name|key|type|header)\\?[\"']?\s{0,8}[:=]\s{0,8}\\?[\"']?(?P<name>[A-Za-z_][\w.\-]{0,80})\\?[\"']?\s{0,20},?\s{0,20}(?:-\s)?\\?[\"']?value\\?[\"']?\s{0,8}[:=]\s{0,8}\\?[\"']?"
    r"(?P<value>\$\{[^}\s]*\}|[^\s\"'&,;{}\[\]\\]{1,400})"
)
_PAIRED_BACKWARDS = re.compile(
    r"(?i)\bvalue\\?[\"']?\s{0,8}[:=]\s{0,8}\\?[\"']?(?P<value>\$\{[^}\s]*\}|[^\s\"'&,;{}\[\]\\]{1,400})\\?[\"']?\s{0,20},?\s{0,20}\\?[\"']?\bname\\?[\"']?"
    r"\s{0,8}[:=]\s{0,8}\\?[\"']?(?P<name>[A-Za-z_][\w.\-]{0,80})"
)
_DEFINED = re.compile(
    r"\b(?:define|put|setProperty|[sS]etenv|env|fetch)\(\s{0,8}[\"'](?P<name>\w{1,80})[\"']\s{0,8},\s{0,8}[\"'](?P<value>[^\"'\n]{1,400})[\"']"
)
_PLAIN = re.compile(
    r"(?im)^[ \t]*(?:sentinel[ \t]{1,8})?(?P<name>[\w.-]{0,40}"
    r"(?:-pass|password|passwd|passphrase|secret_?key|shared_?key|api_?key|auth_?token|access_?key))"
    r"[ \t]{1,40}[\"']?(?!\d{1,5}/(?:tcp|udp)\b)(?P<value>[^\s\"'=:]{3,200})[\"']?[ \t]*;?[ \t]*$"
)
"""A name and a value on a line of their own, as Fluentd and Mosquitto have it."""
_SET = re.compile(
    r"(?m)^[ \t]*(?:SetEnv|setenv|fastcgi_param|uwsgi_param|ENV)[ \t]{1,8}(?P<name>[A-Za-z_]\w{0,80})[ \t]{1,8}\"?"
    r"(?P<value>[^\s\";=]{3,200})"
)
_PROPERTY = re.compile(r"<name>(?P<name>[\w.-]{1,80})</name>\s{0,8}<value>(?P<value>[^<\s]{1,400})</value>")
_ELEMENT = re.compile(
    r"<(?:property|entry|param|prop|parameter)\b[^<>]{0,100}\b(?:name|key)=\"(?P<name>[\w.-]{1,80})\"[^<>]{0,60}>"
    r"\s{0,8}(?P<value>[^<>\s]{1,400})\s{0,8}</"
)
_QUOTED = re.compile(
    r"(?:[(,]\s{0,8}|\$)(?P<name>[A-Za-z_]\w{0,80})\s{0,4}=\s{0,4}(?P<value>\"[^\"\n]{1,400}|'[^'\n]{1,400})"
    r"|(?<![\w:]):(?P<keyword>[a-z][\w-]{0,80})[ \t]{1,4}(?P<of_keyword>\"[^\"\n]{1,400})"
)
"""An argument of a call, a variable of PHP or PowerShell, and a keyword of Clojure."""
_TAGGED = re.compile(r"<(?P<name>[A-Za-z_][\w.\-]{0,80})>\s{0,8}(?P<value>[^<>\s]{1,400})\s{0,8}</")
_DIRECTIVE = re.compile(
    r"(?im)^[ \t]*(?:user\s+\S+.*?\s>(?P<user>\S{3,})"
    r"|rootpw\s+(?:--plaintext\s+)?(?!--)(?P<root>[^\s$]{3,})|(?:ro|rw)community6?\s+(?!(?:public|private)\b)(?P<community>\S{3,})"
    r"|basicauth\s+\S+\s+(?P<proxy>\S{3,})|stats\s+auth\s+[^\s:]+:(?P<stats>\S{3,})|(?:sentinel\s+auth-pass\s+\S+|user\s+\S+\s+insecure-password)\s+(?P<other>\S{3,})"
    r"|(?P<name>requirepass|masterauth|auth_pass|sasl_passwd"
    r"|bindpw)[ \t]+[\"']?(?P<value>[^\s\"']{3,})"
    r"|machine\s+\S+\s+login\s+\S+\s+password\s+(?P<netrc>\S{3,})|[\w.*-]+:(?:\d{2,5}|\*):[^:\s]*:[^:\s]+:(?P<pgpass>[^:\s]{3,}))"
)
_COMMENT = re.compile(
    r"(?m)^[ \t]*(?:#|//(?!\S{1,200}:_)|;).*$|<!--[\s\S]{0,4000}?-->"
)  # but `//registry/:_authToken=` of npm
_ENVIRONMENT_OF = re.compile(r"(?m)^[ \t]*environment[ \t]*=[ \t]*(?=\w+=)")
_PSQL_VARIABLE = re.compile(r"(?i)\bPASSWORD\s{1,8}:'\w+'")
_FLAG = re.compile(r"-{1,2}(?:D)?(?P<name>[A-Za-z][\w.\-]*)(?:=(?P<value>.*))?", re.DOTALL)

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
    found = [*_forms(name, value), *_placeholders(name, value, alone=True)]
    if _is_spelt_out(name, value.strip()):
        found.append(Finding(Sort.SECRET, shown(name), _NAMED_AS))
    is_pair = _PAIR_NAME.fullmatch(name) or name.lower().endswith(("_auth", "_login"))
    pair = _PAIR.fullmatch(value.strip()) if is_pair else None
    if pair and not _PAIR_NAME.fullmatch(name) and not _has_own_part(pair["value"]):
        pair = None
    if pair:
        found += _placeholders("password", pair["value"])
    if pair and not _REFERENCE.fullmatch(pair["value"]):
        found.append(Finding(Sort.SECRET, shown(name), _TWO))
    if not any(one.sort is Sort.SECRET for one in found):
        if _is_secret(name, value):
            found.append(Finding(Sort.SECRET, shown(name), _NAMED_AS))
        elif _is_random(name, value):
            found.append(Finding(Sort.SECRET, shown(name), _ENTROPY))
        elif any(mark in value for mark in "=:"):
            found += _named(value)
    if name.lower().endswith("users"):
        found += _logins(f"{name}={value}")
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
        value = next(
            filter(
                None, match.group("user", "other", "value", "netrc", "pgpass", "root", "community", "stats", "proxy")
            ),
            "",
        )
        if not _REFERENCE.fullmatch(value):
            found.append(Finding(Sort.SECRET, shown(match["name"] or name), _NAMED_AS))
            found += _placeholders(match["name"] or "password", value)
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
    for value in passwords_in(text):
        if not _REFERENCE.fullmatch(value):
            yield Finding(Sort.SECRET, shown(name), _AS_ARGUMENT)


def is_credential(name: str) -> bool:
    """Whether a variable of this name is for signing in to a database."""
    words = words_of(name)
    stores = any(word in _DATABASE_WORDS or word.startswith(("pgpass", "pguser", "mysql")) for word in words)
    return stores and (
        kind_of(words) != "" or words[-1] in ("url", "uri", "dsn", "user", "username", "string") or "pguser" in words
    )


def shown(name: str) -> str:
    """A name for a sentence, unless it may be a secret itself."""
    secret = len(name) > 120 or _has_token(name) or any(pattern.search(name) for pattern in _FORMS.values())
    return "a key that looks like a secret" if secret else name


def _placeholders(name: str, value: str, *, alone: bool = False) -> Iterator[Finding]:
    for rule in placeholder_rules(name, value, alone=alone):
        yield Finding(Sort.PLACEHOLDER, shown(name), rule)


def _named(text: str, *, nested: bool = False) -> Iterator[Finding]:
    for pattern in (_NAMED, _PAIRED, _PAIRED_BACKWARDS, _TAGGED, _DEFINED, _PLAIN, _SET, _PROPERTY, _ELEMENT, _QUOTED):
        for match in pattern.finditer(text):
            name, value = _parts(match)
            if (
                value.isalpha()
                and (rest := _WORDS_AFTER.match(text, match.end()))
                and _PROSE.fullmatch(f"{value}{rest[0]}")
            ):
                continue
            if _is_secret(name, value, in_file=pattern not in (_PAIRED, _PAIRED_BACKWARDS)):
                yield Finding(Sort.SECRET, shown(name), _NAMED_AS)
            if name.lower() not in ("http", "https"):
                yield from _placeholders(name, value)
            if not nested and _SETS.search(value):
                yield from _named(value, nested=True)
    yield from _logins(text)


def _parts(match: re.Match[str]) -> tuple[str, str]:
    """The name and the value that one of the patterns found."""
    found = match.groupdict()
    name, value = found["name"] or found["keyword"], found["value"] or found["of_keyword"]
    return name, _BLOCK.sub("", value).strip("\"'").rstrip()


def _logins(text: str) -> Iterator[Finding]:
    """Lists of users with their passwords, as proxies have them."""
    for match in _LOGINS.finditer(text):
        for pair in _PAIR_OF_MANY.finditer(match["pairs"]):
            if _has_own_part(pair["value"]) and pair["user"] != "system":
                yield Finding(Sort.SECRET, shown(match["name"]), _TWO)


_WORDS_AFTER = re.compile(r"(?:[ \t]{1,4}[\w']{1,40})+")
"""The words behind a first one: `new_password: New password` is a text of an interface."""
_SETS = re.compile(r"\w\s{0,4}=\s{0,4}[\"']?\w")
"""What is quoted may set something itself: `--property 'sasl.jaas.config=… password="…"'`."""
_LOGINS = re.compile(
    r"(?i)\b(?P<name>(?:\w{0,30}_)?users)\b[\"']?\s{0,8}[:=]\s{0,8}(?P<pairs>(?:[-\s\"',]{0,20}[\w.@+-]{1,60}:(?!\d{1,5}\b)[^\s:/,$\"'{]{6,200}){1,50})"
)
_PAIR_OF_MANY = re.compile(r"(?P<user>[\w.@+-]{1,60}):(?P<value>[^\s:/,$\"'{]{6,200})")


def _forms(name: str, value: str, *, nested: bool = False) -> Iterator[Finding]:
    for rule, pattern in _FORMS.items():
        if any(_counts(match) and _is_login(rule, match) for match in pattern.finditer(value)):
            yield Finding(Sort.SECRET, shown(name), rule)
    if _has_token(value):
        yield Finding(Sort.SECRET, shown(name), _KNOWN)
    if not nested and ("%3A%2F%2F" in value.upper() or "basic%20" in value.lower()):
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


def _is_login(rule: str, match: re.Match[str]) -> bool:
    """Whether what follows `Basic` is a user and a password, and not a word: Basic Constraints, basic authentication."""
    if rule != _HTTP or not match["value"]:
        return True
    try:
        return b":" in base64.b64decode(match["value"] + "=" * (-len(match["value"]) % 4))
    except binascii.Error:
        return False


def _counts(match: re.Match[str]) -> bool:
    """Whether the part that is the secret is neither a reference nor a port."""
    groups = match.re.groupindex
    if not groups:
        return True
    value = next(filter(None, (match[name] for name in groups)), "")
    return not _REFERENCE.fullmatch(own_value(value)) and not re.fullmatch(r"\d{1,5}(?:/.*)?", value)


def _has_token(value: str) -> bool:
    return any(pattern.search(value) for pattern in known_tokens())


def _is_secret(name: str, value: str, *, in_file: bool = False) -> bool:
    words = words_of(name)
    kind, own = kind_of(words), own_value(value.strip())
    if words[-1:] == ["pin"] and re.fullmatch(r"\d{4,8}", own) and not in_file:
        return True
    if words[-2:] == ["secret", "id"] and not {"client", "azure", "arn"} & set(words) and _UUID.fullmatch(own):
        return True  # of Vault's AppRole
    if (
        words[-1:] == ["key"]
        and not NAMING_KEYS & set(words)
        and re.fullmatch(r"R0[0-9A-Z]{30}|[0-9a-fA-F]{32}|[0-9a-fA-F]{48}|[0-9a-fA-F]{64}|[0-9a-fA-F]{128}", own)
    ):
        return True
    if kind == "password" and not in_file and _SWITCHES.fullmatch(own):
        return not _SWITCHED & set(words) and words[-1] != "passwords" and own.lower() in ("yes", "no", "on", "off")
    if words[-1:] == ["community"] and own.lower() not in ("public", "private") and _has_own_part(own):
        return True
    if kind and _VARIABLE.search(own) and _has_own_part(own):
        return True
    if in_file and (own.istitle() or not is_default(own)) and _PROSE.fullmatch(own):
        return False
    if (
        not kind
        or not own
        or _names_one(words, own, in_file=in_file)
        or _REFERENCE.fullmatch(own)
        or _FILE_PATH.fullmatch(own)
    ):
        return False
    if {"checksum", "digest", "hash", "sha"} & set(words) and re.fullmatch(r"[0-9a-f]{32,128}", own):
        return False
    if kind == "password":
        return not (in_file and len(own) < 3)
    if len(own) < 4 or _URL.fullmatch(own) or re.fullmatch(r"\d{1,7}(?:\.\d+)?[smhd]?", own):
        return False
    named_object = in_file or not words or bool(OBJECT_WORDS & set(words)) or words[-2:] in _SECRETS_OF
    return not (named_object and _OBJECT_NAME.fullmatch(own) and not any(char.isdigit() for char in own))


def _names_one(words: Sequence[str], own: str, *, in_file: bool) -> bool:
    """Whether a value is the name of a Secret, of a key of one, or of several keys."""
    if "existing" in words or (in_file and words == ["secret", "key"] and _VARIABLE_NAME.fullmatch(own)):
        return True
    if words[-1] == "secret" and _CERTIFICATE_NAME.fullmatch(own):
        return True
    return words[-1].endswith("keys") and not any(char.isdigit() for char in own)


_VARIABLE_NAME = re.compile(r"[A-Z]+(?:_[A-Z]+)+")
_CERTIFICATE_NAME = re.compile(r"[a-z]+(?:-[a-z]+)*-(?:certs?|tls)")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _is_spelt_out(name: str, value: str) -> bool:
    """Whether a value is a key in words (of a wallet), or Neo4j's user and password."""
    words = words_of(name)
    if name.upper() == "NEO4J_AUTH":
        user, _, password = value.partition("/")
        return bool(user and password) and not _REFERENCE.fullmatch(password)
    if words[-1:] == ["passcommand"]:
        return any(map(_has_own_part, value.removeprefix("echo ").split())) if value.startswith("echo ") else False
    in_words = "mnemonic" in words or words[-2:] in (["seed", "phrase"], ["recovery", "phrase"], ["seed", "words"])
    return in_words and _MNEMONIC.fullmatch(value) is not None


_MNEMONIC = re.compile(r"(?:[a-z]{3,8} ){11,23}[a-z]{3,8}")


def _has_own_part(value: str) -> bool:
    """Whether a value is more than the variables in it: `a$(B)c4nary`, unlike `Bearer $(B)`."""
    rest = _VARIABLE.sub("", value)
    return (
        not _URL.fullmatch(value) and len(rest) >= 6 and bool(re.search(r"[A-Za-z]", rest) and re.search(r"\d", rest))
    )


def _is_random(name: str, value: str) -> bool:
    """Whether a value is as random as keys are, under a name that is not known to hold such a value."""
    value = value.removeprefix("base64:")
    if not _RANDOM.fullmatch(value) or _PRECISE_ID & set(words_of(name)):
        return False
    if value.count("/") > 2 or value.startswith("/") or re.fullmatch(r"[0-9a-fA-F-]+", value):
        return False
    classes = sum(any(test(char) for char in value) for test in (str.isupper, str.islower, str.isdigit))
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
    return classes == 3 and entropy >= 4.0 and len(re.findall(r"\d", value)) >= 2
