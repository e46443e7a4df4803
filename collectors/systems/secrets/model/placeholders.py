"""Settings that an example, a developer or a default has left behind, by their names and the form of their values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from collectors.systems.secrets.model.defaults import is_default, is_guessed_at_once
from collectors.systems.secrets.model.destinations import astray
from collectors.systems.secrets.model.fillers import is_filler
from collectors.systems.secrets.model.names import OBJECT_WORDS, kind_of, names_password, own_value, words_of

__all__ = ["placeholder_rules"]

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
            r"|\S*replace[-_]with\S*|\S*(?:to|should|must)[-_]?be[-_]?(?:modified|changed|replaced|updated|overridden)\S*"
            r"|\S*need[-_]?to[-_]?change[-_]?this\S*|put your unique phrase here"
            r"|_(?:password|secret|token|key)_"
            r"|generate[-_](?:a|your|new)[-_]\S*|<[a-z][\w .:-]{1,60}>|\[(?:your|insert|enter|change)[^\]]*\]|n/?a)"
        ),
    ),
    (
        "a placeholder",
        re.compile(
            r"(?i)\S{0,40}?(?<![a-z])your[-_]?(?:own[-_]?)?(?:super[-_]?)?(?:api|secret|access|auth|db|database|pass(?:word"
            r"|wd)?|token|key|domain|company|org|project|user(?:name)?|host(?:name)?|email|bucket|account|client|app"
            r"|tenant|webhook|jwt|server|registry|repo(?:sitory)?|gcp[-_]|aws[-_]|azure[-_])\S*|(?-i:[Yy]our[A-Z][A-Za-z]{0,40}(?:Token|Key|Secret|Password))"
        ),
    ),
    (
        "a placeholder",
        re.compile(
            r"(?i)(?:sk|pk|rk|key|ghp|xox[bp]|api|token|akia|whsec)?(?:[-_](?:live|test|proj|ant|key))?[-_]?x{3,}[-_x]*|\.{3}"
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
            r"|<?(?i:your[-_!@.]?strong\S{0,20}pass\S*)|0x0{16,}|0{8}-(?:0{4}-){3}0{12}|(?:G|UA|GTM|AW)-(?:X{4,}|0{4,})(?:-\w+)?"
        ),
    ),
    (
        "a documented example key",
        re.compile(
            r"ZmDfcTF7_60GrrY167zsiPd67pEvs0aGOv2oasOM1Pg=|(?i:a-string-secret-at-least-256-bits-long)|ZXhhbXBsZS1hcHAtc2VjcmV0|SW2YcwTIb9zpOOhoPsMm"
            r"|OQINaROshtE9TcZkNAm-5Zs2Pv3xaWytBmc5W7sPX7w=|https://key@sentry\.io/project"
            r"|255d861b-5ea1-5996-9aa3-922530ec40b1|6116487b-cda1-52c2-b5b5-c8022c45e263|django-insecure-\S+"
        ),
    ),
    (
        "a number of examples",
        re.compile(
            r"\+1[-. (]{0,2}555[-. )]{0,2}\d{3}[-. ]?\d{4}|(?:\+?1[-. ])?(?:\(?\d{3}\)?[-. ])?555[-. ]01\d\d"
            r"|4242(?:[ -]?4242){3}|4111(?:[ -]?1111){3}|5555[ -]?5555[ -]?5555[ -]?4444|378282246310005|000000000000"
        ),
    ),
    (
        "a placeholder",
        re.compile(
            r"(?i)lorem ipsum.*|[a-z]{2}x{16,}|my[-_](?:\w{1,10}[-_])?project(?:[-_]?id)?|bucket[-_]name"
            r"|https://hooks\.slack\.com/services/X{3,}/\S*"
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
#: Where a secret should be alone.
_OF_SECRETS: Sequence[tuple[str, re.Pattern[str]]] = (
    (
        "a placeholder",
        re.compile(
            r"(?i)(?:see|ask|get|stored?|kept|fetch)[-_ ].{0,40}(?:vault|1password|lastpass|keepass|bitwarden|ops|admin)"
            r"|no[-_ ](?:key|token|secret|password|auth)(?:[-_ ](?:required|needed|set))?"
            r"|\S*at[-_]least[-_]?\d+[-_]?(?:char|byte|bit)\S*|(?:todo|fixme):? .{1,80}|\{[a-z]+(?:_[a-z]+)+\}"
            r"|(?:overrid(?:e|den)|set|injected|provided|generated)[-_ ]by[-_ ]\S{2,30}"
            r"|(?:key|token|secret)[-_]?(?:1|12|123|1234\d{0,6})"
            r"|(?:none|not)[-_ ](?:yet|set|used|needed|available)|(?:insert|enter|paste|put)[-_ ]\S{2,40}"
        ),
    ),
)
#: Secrets as tutorials write them: my-super-secret-key, thisisasecret, jwt_secret_key.
_SPOKEN = re.compile(
    r"(?i)(?:(?:my|super|very|this|is|a|the|some|your|our|test|dev|default|jwt|app|api|session|django|flask|node|top|long|random"
    r"|secure|really|not|so)[-_ ]?)+(?:secret|password|token|key|string)(?:[-_ ]?(?:key|here|string|value|password|token|for|dev"
    r"|test|prod))*[-_ ]?\d{0,4}"
)
_SEQUENCE = re.compile(
    r"(?i)(.)\1{7,}={0,2}|(?:1234567890abcdef)+|(?:0123456789abcdef)+|(?:1234567890)+|0123456789|abcdefgh\w*|(?:deadbeef|cafebabe)+"
)
"""What is as long as a key, and nobody has drawn."""
_UNRENDERED = re.compile(
    r"\{\{.*\}\}|__\w+__|%%\w+%%|%[A-Z_]{3,}%|@@?\w+@@?|\[[a-z]+[-_ ](?:key|token|secret|password)\]"
    r"|#\{[\w.]+\}#?|<<[\w .-]+>>|\[\[[\w .-]+\]\]|\[[A-Z][A-Z0-9_ -]{2,}\]"
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
_DEBUG = frozenset(
    {
        "DEBUG",
        "DISPLAY_ERRORS",
        "PHP_DISPLAY_ERRORS",
        "FLASK_DEBUG",
        "APP_DEBUG",
        "DJANGO_DEBUG",
        "NODE_DEBUG",
        "WDS_DEBUG",
    }
)
_DEBUG_ON = re.compile(r"(?i)true|1|yes|on|[\w:,-]*\*")
_ON = re.compile(r"(?i)true|1|yes|on")
_SWITCHES: Mapping[str, re.Pattern[str]] = {
    **dict.fromkeys(
        (
            *(
                "ALLOW_ANONYMOUS_LOGIN",
                "ALLOW_EMPTY_PASSWORD",
                "ALLOW_PLAINTEXT_LISTENER",
                "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD",
            ),
            *(
                "MYSQL_ALLOW_EMPTY_PASSWORD",
                "BYPASS_AUTH",
                "DISABLE_AUTH",
                "DISABLE_AUTHENTICATION",
                "SKIP_AUTH",
                "NO_AUTH",
            ),
            *("GIT_SSL_NO_VERIFY", "OAUTHLIB_INSECURE_TRANSPORT", "FLASK_RUN_RELOAD"),
        ),
        _ON,
    ),
    "NODE_TLS_REJECT_UNAUTHORIZED": re.compile("0"),
    "PYTHONHTTPSVERIFY": re.compile("0"),
    "POSTGRES_HOST_AUTH_METHOD": re.compile("trust"),
}
"""Settings that examples have so that they work at once, and what is wrong in production."""
_NO_VALUE = re.compile(r"(?i)trial|null|none|nil|undefined|nan|<nil>|<no value>|\[object object\]")
_LOGIN = re.compile(r"(?i)://[^\s/:@]*:(?P<url>[^\s@/]+)@|^(?:admin|administrator):(?P<pair>[^\s:]+)$")
_KEYS_OF_SECRETS = frozenset({"password", "token"})
_PREFIX = re.compile(r"(?i)^(?:sk|pk|rk|whsec|base64|api|key|token|ghp|xoxb)[-_:](?:live[-_]|test[-_])?")
_ALSO_SECRETS = frozenset({"AWS_ACCESS_KEY_ID", "NEO4J_AUTH"})
"""Names that do not sound like a secret's, of what has defaults."""


def placeholder_rules(name: str, value: str, *, alone: bool = False) -> Iterator[str]:
    """The rules by which a setting is a placeholder or a default.

    `alone` is whether it is the value of a variable, or of an entry, and not one of many in a file, where `null` is no text.
    """
    own = own_value(value.strip())
    upper, words = name.upper(), words_of(name)
    if not own or "\n" in own:
        return
    kind = "" if "existing" in words else kind_of(words) or ("token" if upper in _ALSO_SECRETS else "")
    if upper == "NEO4J_AUTH":
        own = own.removeprefix("neo4j/")
    for rule, pattern in (*_PLACEHOLDERS, *(_OF_SECRETS if kind else ())):
        if pattern.fullmatch(own) and not (own.lower() in ("n/a", "na", "...", "***") and not kind):
            yield rule
            return
    yield from _secret_rules(words, own, kind)
    if alone and kind_of(words) and "existing" not in words:
        yield from _lone_rules(words, own)
    if words[-2:] == ["emulator", "host"] or (words[:1] == ["mock"] and _DEBUG_ON.fullmatch(own)):
        yield "an emulator or mock"
    yield from astray(name, own)
    yield from _mode_rules(upper, words, own)


def _secret_rules(words: Sequence[str], own: str, kind: str) -> Iterator[str]:
    """What is wrong with the value of a secret, or with the password in a URL."""
    login, bare = _LOGIN.search(own), _PREFIX.sub("", own)
    password = login["url"] or login["pair"] if login else bare
    of_password = names_password(words)
    default = is_default(password) or (
        (of_password or login is not None) and (is_guessed_at_once(password) and not password.startswith("$"))
    )
    default = default and not (password.istitle() and password.isalpha())
    if words == ["secret", "key"] and own in _KEYS_OF_SECRETS:
        return  # which key of a Secret
    if (kind or login) and (default or (login and _is_placeholder(password))):
        yield "a default password"
    if not kind:
        return
    if (
        _SEQUENCE.fullmatch(bare)
        or not (own.startswith(("<%", "#")) or any(map(str.isalnum, own)))
        or _is_name(words, own)
    ):
        yield "a placeholder"
    elif _UNRENDERED.fullmatch(own):
        yield "a template that was not rendered"
    elif not OBJECT_WORDS & set(words) and not default and is_filler(bare, of_password=of_password):
        yield "a placeholder"


def _lone_rules(words: Sequence[str], own: str) -> Iterator[str]:
    if _SPOKEN.fullmatch(own) and not OBJECT_WORDS & set(words):
        yield "a secret of examples"
    if _NO_VALUE.fullmatch(own):
        yield "a value that a program put there for none"


def _mode_rules(name: str, words: Sequence[str], own: str) -> Iterator[str]:
    """Settings by which a program runs as on a developer's machine."""
    if _is_elsewhere(name, words, own):
        yield "an environment other than production"
    if (name in _DEBUG or words[-1:] == ["debug"]) and _DEBUG_ON.fullmatch(own):
        yield "debugging switched on"
    if (switch := _SWITCHES.get(name)) and switch.fullmatch(own):
        yield "a switch for development"


def _is_name(words: Sequence[str], value: str) -> bool:
    """Whether a secret is spelt as its setting is: COOKIE_SECRET=cookie-secret. That may also be the name of an object."""
    if len(words) < 2 or OBJECT_WORDS & set(words) or not _SPELT.fullmatch(value):
        return False
    own = re.sub(r"(?:val|value|here)$", "", re.sub(r"[-_ ]", "", value.lower()))
    return own in ("".join(words), "".join(words[-2:]), "key")


_SPELT = re.compile(r"[a-z_-]+|[A-Z_-]+")


def _is_elsewhere(name: str, words: Sequence[str], value: str) -> bool:
    """Whether a setting says that this is another environment than production."""
    if name != "NODE_ENV" and (name in _ENVIRONMENTS or words[-1:] in (["env"], ["environment"])):
        return bool(_OTHER_ENVIRONMENT.fullmatch(value))
    if name == "NODE_ENV":
        return value != "production"
    if name == "DJANGO_SETTINGS_MODULE":
        return bool(_OTHER_MODULE.fullmatch(value))
    return words[-1:] == ["mode"] and not {"log", "test"} & set(words) and bool(_OTHER_MODE.fullmatch(value))


def _is_placeholder(value: str) -> bool:
    return any(pattern.fullmatch(value) for _, pattern in _PLACEHOLDERS)
