"""How programs and languages take a password in a text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

__all__ = ["passwords_in"]

#: How programs take a password on their command line.
_WORD = r"[\"']?(?P<{}>[^\s\"'$|;&<>]{{3,200}})"
_FAR = r"[^|;&\n]{0,400}?\s"
#: Programs, and the option, or the words, before their password.
_OPTIONS: Sequence[tuple[str, str]] = (
    (r"redis-cli|valkey-cli", r"(?:-a|--pass|AUTH|requirepass|masterauth)\s{1,8}"),
    (r"https?", r"(?:-a|--auth)\s{1,8}[\"']?[\w.-]{1,80}:"),
    (r"mosquitto_(?:pub|sub|rr)", r"-P\s{1,8}"),
    (r"openssl\s{1,8}enc", r"-k\s{1,8}"),
    (r"[wx]freerdp\d?", r"/p:"),
    (r"ConvertTo-SecureString", r""),
    (r"vault\s{1,8}login", r"(?=[\w.]{0,100}\d)(?!-)"),
    (r"kinit", r"<<<\s{0,4}"),
    (r"mongo(?:sh|dump|restore|export|import)?", r"-p\s{1,8}"),
    (r"ldap(?:search|add|modify|whoami|passwd)", r"-w\s{1,8}"),
    (r"cqlsh|cypher-shell|kafka-\w+|az|ipmitool|rabbitmqadmin|nats|influx|gpg", r"-[pP]\s{1,8}"),
    (r"sqlcmd|bcp|isql|zip|unzip|plink|pscp|ipmitool", r"-P\s{1,8}"),
    (r"7za?|rar|unrar", r"-p"),
    (r"snmp(?:get|walk|set|bulkwalk|trap)", r"-[AX]\s{1,8}"),
    (r"smbclient|rpcclient|mount\.cifs", r"(?:-U\s{1,8}[\"']?|username=)[\w.\\-]{1,80}%"),
    (r"swaks", r"-(?:-auth-password|ap)\s{1,8}"),
    (r"sendemail", r"-xp\s{1,8}"),
    (r"etcdctl", r"--user[ =]{1,4}[\"']?[\w.-]{1,80}:"),
    (
        r"rclone\s{1,8}config\s{1,8}(?:create|update|password)\b",
        r"\w{0,30}(?:pass|secret_access_key|token|client_secret)[ =]{1,4}",
    ),
    (r"net\s{1,8}use", r"/user:\S{1,100}\s{1,8}"),
    (r"sqlplus|sqlldr|expdp|impdp|exp|rman", r"[\w$#]{1,30}/(?=[^\s@/]{3,100}@)"),
    (r"(?:docker|podman|nerdctl|oras|crane|skopeo|helm)\b[^|;&\n]{0,200}?\slogin", r"-p\s{1,8}"),
    (r"rabbitmqctl\b[^|;&\n]{0,200}?\s(?:add_user|change_password)", r"\S{1,80}\s{1,8}(?=\S{3})"),
    (r"lftp", r"-u\s{1,8}[\"']?[^\s,]{1,80},"),
    (r"mc\s{1,8}admin\s{1,8}user\s{1,8}add", r"\S{1,80}\s{1,8}\S{1,80}\s{1,8}"),
    (r"(?:doctl\s{1,8}auth\s{1,8}init|influx)", r"(?:-t|--token)\s{1,8}"),
    (r"ngrok(?:\s{1,8}config)?", r"(?:add-)?authtoken\s{1,8}"),
    (r"vault\s{1,8}operator\s{1,8}unseal", r""),
)
#: How programs take a password on their command line.
_PROGRAMS = re.compile(
    r"(?<![\w-])(?:curl\b[^|;&\n]{0,400}?\s(?:-[a-zA-Z]{0,6}u|--user)[\s=]?[\"']?[^\s:\"'$]{1,80}:(?P<a>[^\s\"'$|;&]{2,200})"
    r"|(?:mysql|mariadb)(?:-?dump|-?admin)?\b[^|;&\n]{0,400}?\s-p[\"']?(?P<b>[^\s\"'$|;&-][^\s\"'$|;&]{2,200})"
    r"|sshpass\s{1,8}-p\s{0,8}[\"']?(?P<d>[^\s\"'$|;&]{2,200})"
    r"|\bmc\s{1,8}(?:alias\s{1,8}set|config\s{1,8}host\s{1,8}add)(?:\s{1,8}[^\s|;&]{1,200}){3}\s{1,8}[\"']?(?P<k>[^\s\"'$|;&]{3,200})"
    r"|\baws\s{1,8}configure\s{1,8}set\s{1,8}aws_secret_access_key\s{1,8}[\"']?(?P<l>[^\s\"'$|;&]{3,200})"
    r"|\bhtpasswd\s{1,8}(?:-\w{1,8}\s{1,8}){0,4}-\w{0,4}b\w{0,4}(?:\s{1,8}-\w{1,8}){0,4}(?:\s{1,8}[^\s|;&$-][^\s|;&$]{0,100}){1,2}\s{1,8}[\"']?(?P<m>[^\s\"'$|;&>]{3,200})"
    r"|\becho\s{1,8}(?:-n\s{1,8})?[\"']?(?P<n>[^\s\"'$|;&]{3,200})[\"']?\s{0,8}\|\s{0,8}(?:passwd|kinit|sudo\s{1,8}-S|cryptsetup|[^|\n]{1,200}--(?:password|passphrase|token)-?(?:stdin|fd))\b"
    r"|\becho\s{1,8}(?:-n\s{1,8})?[\"']?(?P<p>(?=[^\s\"']{0,100}\d)(?=[^\s\"']{0,100}[A-Za-z])[^\s\"'$|;&]{6,200})[\"']?\s{0,8}>{1,2}\s{0,8}\S{0,100}(?:pass|secret|token|cred)"
    r"|\becho\s{1,8}[\"']?[\w.-]{1,80}:(?P<o>[^\s\"'$|;&]{3,200})[\"']?\s{0,8}\|\s{0,8}chpasswd\b"
    r"|(?<![\w-])--?(?:[\w.-]{0,40}password|[\w.-]{0,40}passphrase|\w{0,12}storepass|\w{0,12}keypass|requirepass|masterauth)(?:[\"'],\s{0,8}|\s{1,8})[\"']?(?!-|[A-Z_]+\b)(?P<i>[^\s\"'$|;&<\[({]{3,200}))"
)
_WITH_OPTIONS = re.compile(
    "|".join(
        rf"(?<![\w.-])(?:{programs})\b{_FAR}{option}{_WORD.format(f'o{number}')}"
        for number, (programs, option) in enumerate(_OPTIONS)
    )
)
#: How SQL, and files of names and passwords, say a password.
_STATEMENTS = re.compile(
    r"(?im)\b(?:PASSWORD|IDENTIFIED(?:\s+WITH\s+\S+)?\s+BY)\s{1,8}'(?P<a>[^'\s$:{%]{3,200})'|\{(?:PLAIN|CLEARTEXT)\}(?P<b>[^\s:]{3,200})"
    r"|\bIDENTIFIED\s+BY\s{1,8}\"(?P<d>[^\"\s$]{3,200})\"|\bPASSWORD\s{0,4}\(\s{0,4}'(?P<e>[^'\s$:{%]{3,200})'"
    r"|^\"[^\"\n]{1,80}\"[ \t]{1,8}\"(?!md5|SCRAM-)(?P<c>[^\"\s]{3,200})\"[ \t]*$"
)


def passwords_in(text: str) -> Iterator[str]:
    """The passwords on command lines, in SQL, and in lists of names and passwords; references may be among them."""
    for match in (*_PROGRAMS.finditer(text), *_WITH_OPTIONS.finditer(text), *_STATEMENTS.finditer(text)):
        yield next(filter(None, match.groups()), "")
