"""Secrets that are known by what surrounds them, or by their own form."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["FORMS"]

#: By what is found. Where there are groups, one of them is the secret.
FORMS: Mapping[str, re.Pattern[str]] = {
    "a bearer token": re.compile(r"(?i)\bbearer(?:\s|%20)(?![a-z_]{2,20}=\S)(?P<value>[a-z0-9._~+/=*-]{8,})"),
    "basic credentials": re.compile(
        r"(?i)\bauthorization\\?[\"']?\s?[:=]\s?\\?[\"']?basic\s(?P<value>[a-z0-9+/*]{8,})"
    ),
    "a token": re.compile(
        r"(?i)\bauthorization\\?[\"']?\s?[:=]\s?\\?[\"']?(?:token|apikey|api-key|negotiate|ntlm)\s(?P<value>[\w.~+/=*-]{12,})"
    ),
    "a login by digest": re.compile(
        r"(?i)\bauthorization\\*[\"']?\s?[:=]\s?\\*[\"']?digest\s.{0,600}?\bresponse=\\*\"?[0-9a-f]{32}"
    ),
    "a code of a sign-in": re.compile(
        r"[?&]code=(?P<value>[\w.%/~-]{16,})&(?:[^\s\"]{0,400}&)?state=|[?&]state=[^\s&\"]{1,400}&(?:[^\s\"]{0,400}&)?code=(?P<second>[\w.%/~-]{16,})"
    ),
    "a token in a sentence": re.compile(
        r"(?i)\b(?:use|with|using|your|the|access|api|bearer|auth) token:?\s(?=[\w.+/-]*\d[\w.+/-]*\d)(?=[\w.+/-]*[a-z])"
        r"(?P<value>(?!\w+-[a-z])[\w.+/-]{16,})"
    ),
    "a cookie": re.compile(
        r"(?i)(?<![\w-])(?:set-)?cookie\\*[\"']?\s?[:=]\s?\[?\\*[\"']?(?:[^\s\"';=]{1,80}=[^\s\"';\\]{0,7};\s?){0,8}"
        r"[^\s\"';=]{1,80}=(?P<value>[^\s\"';\\]{8,})"
    ),
    "a SAML message": re.compile(r"\bSAML(?:Response|Request)\b[\"']?\s?[:=]\s?[\"']?(?P<value>[\w%+/=-]{32,})"),
    "a hash of a password": re.compile(
        r"\bSCRAM-SHA-(?:1|256)\$\d+:|\b[0-9a-f]{32}:[0-9a-f]{32}:::|\bAS\s'\*[0-9A-F]{40}'|\$(?:2[abxy]\$\d\d\$[./A-Za-z0-9]{53}|argon2(?:id|i|d)\$v=|y\$[./A-Za-z0-9]+\$|[56]\$(?:rounds=\d+\$)?[./A-Za-z0-9]{1,16}\$)"
    ),
    "a password in a sentence": re.compile(
        r"(?i)(?<![\w./-])(?:password|passwd|passphrase|passwort|pw)(?:\s(?:is:?\s|was:?\s)?\(?|\()[\"']?(?!\S*(?:sha|md5|bcrypt|argon|scrypt|char|\bv\d))(?=[^\s\"']*\d)"
        r"(?=[^\s\"']*[a-z])(?P<value>[^\s\"'=:,;()]{7,})"
        r"|\bpassword is generated for \S{1,80}: (?P<second>\S{8,})"
    ),
    "a JSON web token": re.compile(r"\beyJ[\w-]{8,4000}\.eyJ[\w-]{8,4000}\.[\w-]{16,}"),
    "a private key": re.compile(
        r"-----BEGIN (?:[A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?|USER NKEY SEED|NATS USER JWT)-----"
        r"|\bxprv[1-9A-HJ-NP-Za-km-z]{100,}|\bprivate key:?\s(?:0x)?[0-9a-f]{64}\b|\bUnseal Key(?: \d{1,2})?:\s[A-Za-z0-9+/=]{40,}"
        r"|\"kty\".{0,4000}\"d\":\s?\"[\w-]{32,}|\"d\":\s?\"[\w-]{32,}.{0,4000}\"kty\"|\bAGE-SECRET-KEY-1[0-9A-Z]{40}|\bS[UACONX][A-Z2-7]{56}\b"
    ),
    "a password of Redis": re.compile(
        r"(?i)\"AUTH\\*\"\s\\*\"(?:[^\"\\]{1,100}\\*\"\s\\*\")?(?P<value>[^\"\s\\]{4,})\\*\""
        r"|(?-i:\bAUTH\s(?=\S*\d)(?=\S*[a-z])(?P<second>[^\s\"':=]{6,})$)"
        r"|(?:requirepass|masterauth|bindpw)\\*\"?\s\\*[\"']?(?-i:(?=[^\s\"']*[\dA-Z!$%^&*+]))(?P<third>[^\s\"'\\]{4,})"
        r"|(?-i:\bHELLO \d AUTH \S{1,100} (?P<fourth>\S{4,})|\bACL SETUSER \S{1,100} (?:[^\n>]{0,200} )?>(?P<fifth>\S{4,}))"
    ),
    "a login by mail": re.compile(r"\bAUTH (?:PLAIN|LOGIN) (?=\S*[a-z])(?P<value>[A-Za-z0-9+/]{8,}={0,2})(?![^\s\"'])"),
    "a session": re.compile(
        r"(?i)\b(?:PHPSESSID|JSESSIONID|ASP\.NET_SessionId|connect\.sid|sessionid|_?[a-z]{2,20}_session|wordpress_logged_in_\w{1,40})=(?P<value>[\w%.:-]{16,})"
    ),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a password of a command": re.compile(
        r"\b(?:mysql|mysqldump|mysqladmin|mariadb[a-z-]*)\s(?:[^|;\n]{0,200}\s)?-p(?P<value>[^\s=\-][^\s\"']{3,})"
        r"|\b(?:docker|podman|buildah|skopeo|oras|az)\slogin\s(?:[^|;\n]{0,200}\s)?-p\s?(?P<fifth>[^\s=\-][^\s\"']{3,})"
        r"|\b(?:sshpass|mongo|mongosh|mongodump)\s(?:[^|;\n]{0,200}\s)?-p\s?(?P<second>[^\s=\-][^\s\"']{3,})"
        r"|\bredis-cli\s(?:[^|;\n]{0,200}\s)?-a\s(?P<third>[^\s\-][^\s\"']{3,})"
        r"|\bcurl\s(?:[^|;\n]{0,200}\s)?(?:-u|--user)\s?[\"']?[^\s:\"']+:(?P<fourth>[^\s\"']{4,})"
    ),
    "a signed address": re.compile(
        r"(?i)(?:[?&](?:x-amz-signature|x-goog-signature|sig)|\bsignature)=(?P<value>[\w%+/=-]{20,})"
    ),
    "a recovery phrase": re.compile(
        r"(?i)\b(?:mnemonic|(?:seed|recovery) (?:phrase|words))\W{1,4}(?:[a-z]{3,8}\s){11}[a-z]{3,8}\b"
    ),
    "a Kerberos ticket": re.compile(r"\bdoI[A-Z][A-Za-z0-9+/]{40,}"),
    "a community of SNMP": re.compile(
        r"(?i)\bsnmp[-\w]*[ .]community[ =:]{1,3}\"?(?P<value>(?=\S*[a-z])(?=\S*\d)[^\s\",;]{6,})"
        r"|\bsnmp(?:get|walk|set|bulkwalk)\s[^|;\n]{0,100}-c\s(?P<second>\S{4,})"
    ),
    "an address with a password": re.compile(
        r"\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@\"']{0,100}:(?P<value>[^\s/@\"']{3,200})@"
        r"|\bhttps?://(?=[A-Za-z_]*\d)(?=\d*[A-Za-z])(?P<second>\w{24,})@(?!\S{1,200}/\d+\b)|\b[\w.-]{1,60}:(?P<fourth>[^\s:@/\"']{3,80})@(?:tcp|unix)\(|\bjdbc:oracle:thin:\w{1,40}/(?P<third>[^\s/@]{3,80})@"
    ),
}
