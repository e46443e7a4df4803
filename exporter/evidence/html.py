"""What can be read on a page, and whether it may be a login page instead of the document. Pure: fetches nothing."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec
from selectolax.lexbor import LexborHTMLParser, LexborNode

__all__ = ["LOGIN_PATH", "Page", "folded", "read_page", "refreshed"]

LOGIN_PATH = re.compile(
    r"/(?:sessions?/new|log[-_]?[io]n|sign[-_]?[io]n|sso|saml2?|oidc|oauth2?|openid(?:-connect)?|auth|authorize|authenticate|adfs|cas)"
    r"(?=[/.;]|$)",
    re.IGNORECASE,
)

# The words on what leads to a login, in the languages that most wikis are run in; always the whole label.
_SIGN_IN = re.compile(
    r"(?:please )?(?:sign|log)[ -]?(?:in|on)(?: (?:to|with|using|via|here|now|first)\b.*)?"
    r"|(?:continue|sign up|proceed) (?:with|using|via) .+|(?:use )?(?:single sign[- ]on|sso)(?: login)?"
    r"|(?:use|sign in with|continue with) (?:a |your )?(?:passkey|security key)|welcome back\W*|(?:login|sign[- ]?in) required"
    r"|authenticat(?:e|ion)(?: required)?|(?:company|corporate|employee) login"
    r"|anmelden|anmeldung|einloggen|(?:se )?connecter|connexion|s'identifier|identification"
    r"|iniciar sesi[oó]n|acceder|ingresar|entrar|fazer login|iniciar sess[aã]o|accedi|accesso|inloggen|aanmelden"
    r"|logga in|logg inn|log ind|kirjaudu(?: sisään)?|zaloguj(?: si[eę])?|logowanie|přihlásit(?: se)?|bejelentkezés"
    r"|oturum aç|giriş(?: yap)?|войти|вход|увійти|ログイン|サインイン|登录|登入|로그인",
    re.IGNORECASE,
)
_SIGN_IN_ANYWHERE = re.compile(r"\b(?:sign|log)(?:ged|ging)?[ -]?(?:in|on)\b|\blogin\b|\bsso\b", re.IGNORECASE)
_NO_DOCUMENT = re.compile(
    r"(?:error )?(?:40[0-9]|50[0-9])(?:\W.*)?|(?:the )?(?:\w+ )?(?:was |could )?not (?:be )?found\W*|access denied\W*|forbidden"
    r"|unauthori[sz]ed|permission denied\W*|(?:server |internal |application )?error|(?:down for |site )?maintenance"
    r"|(?:your )?session (?:has )?(?:expired|ended|timed out)\W*|too many requests|rate limit exceeded\W*"
    r"|(?:oops\W*|sorry\W*|uh[- ]?oh\W*)?(?:this|that|the|we)"
    r" (?:page |content |document |article |file |can'?t |could ?n[o']t )?"
    r"(?:does(?: not|n't) exist|(?:is|was|isn't|is not) (?:not |no longer )?(?:found|available)"
    r"|ha(?:s|ve) been (?:deleted|removed|moved)|(?:can't|cannot|could not|couldn't) be found"
    r"|find (?:this|that|the) page.*)\W*|oops\W*|something went wrong\W*"
    r"|(?:die )?(?:seite|datei) (?:wurde )?(?:leider )?nicht gefunden\W*|zugriff verweigert"
    r"|page (?:introuvable|non trouv[ée]e)|acc[eè]s (?:refus[eé]|interdit)"
    r"|p[aá]gina no (?:encontrada|existe)|acceso denegado|p[aá]gina n[aã]o encontrada|pagina (?:non trovata|niet gevonden)"
    r"|ページが見つかりません\W*|页面不存在|页面未找到|страница не найдена"
    r"|you need (?:access|permission)\W*|request access|we'?ll be (?:right )?back(?: soon)?\W*|under construction|coming soon\W*"
    r"|welcome to nginx\W*|apache2? .*default page.*|it works\W*|index of /.*|iis windows server"
    r"|search results(?: for .*)?"
    r"|(?:page|service|temporarily) unavailable|just a moment\W*|attention required\W*.*|redirecting\W*|loading\W*",
    re.IGNORECASE,
)
_NOTHING_THERE = re.compile(
    r"\b(?:not (?:be )?found|(?:could|can)(?: ?not|n't) (?:be )?f(?:ind|ound)|does(?: not|n't) exist|no (?:results?|matches|page)"
    r"|search(?: results)?|deleted|removed|no longer|unavailable)\b",
    re.IGNORECASE,
)
#: What stands on a page that has no content yet, or no more.
_PLACEHOLDER = re.compile(
    r"\W*(?:(?:to ?-?do|tb[acd]|fixme|wip|work in progress|under construction|coming soon|placeholder|draft|empty page)\W*)+"
    r"|(?:this|the) (?:page|document|article|content|site|runbook)(?: ha[sd])?(?: been| is| was)?(?: intentionally)?"
    r" (?:moved|archived|deleted|removed|retired|deprecated|obsolete|left blank|empty|work in progress|under construction)\b.*"
    r"|(?:content |text |more )?to be (?:added|completed|defined|done|filled in|written)\W*|lorem ipsum\b.*"
    r"|(?:there is )?(?:no (?:content|text)|nothing)(?: here)?(?: yet)?\W*"
    r"|(?:add|insert|write) (?:your |some )?(?:content|text) here\W*",
    re.IGNORECASE,
)
_ERROR_KEYS = frozenset({"error", "errors", "error_description", "errorcode", "error_code", "exception"})
_IDENTITY = re.compile(
    r"user(?:_?name)?|login(?:_?fmt|_?hint|_?id)?|identifier|email|e-mail|account|uid", re.IGNORECASE
)
_SEARCH = re.compile(r"search|find|filter|query|such|suche|recherche|buscar", re.IGNORECASE)
_SEARCH_FIELD = re.compile(r"q|s|query|search|term|terms|keywords?|filter", re.IGNORECASE)
_ASSERTION = frozenset({"samlrequest", "samlresponse", "relaystate", "wresult", "wctx"})
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|(?:^|[;\s])opacity\s*:\s*0*(?:\.0+)?%?\s*(?:!|;|$)"
    r"|(?:^|[;\s])font-size\s*:\s*0(?:\.0+)?(?:px|r?em|%|pt)?\s*(?:!|;|$)",
    re.IGNORECASE,
)
_REFRESH = re.compile(r"\s*(?P<wait>\d*\.?\d*)\s*(?:[;,\s]\s*(?:url\s*=\s*)?(?P<url>.*))?", re.IGNORECASE | re.DOTALL)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"';>]+)", re.IGNORECASE)
_BREAK = re.compile(r"\s*[|–—·:•«»]\s*|\s+-\s+")

_LONGEST_WAIT = 60.0  # seconds: what refreshes later is read by a person meanwhile (the end of a session, a wallboard)
_A_DOCUMENT = 200  # characters of a page with scripts that were surely not drawn by them alone

_UNREAD = frozenset(
    {
        *("head", "script", "style", "template", "noscript", "textarea", "select", "datalist", "option"),
        *("iframe", "object", "embed", "video", "audio", "canvas", "noframes", "noembed", "desc", "metadata", "map"),
    }
)
_INLINE = frozenset(
    {
        *("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i"),
        *("ins", "kbd", "label", "mark", "nobr", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike"),
        *("strong", "sub", "sup", "time", "tspan", "tt", "u", "var", "wbr"),
    }
)
_MEDIA = "img, svg, picture, canvas, object, embed, video"


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows.

    `text` is what can be read on it, folded. `login` says why it is a login page, `doubt` why it may be another page than the
    document, `error` that this is what it says of itself. `readable` is False for what has no text (an image, a PDF). `drawn` is
    whether scripts or frames draw most of it. `refresh` is the address it leads on to. `blocks` are the parts of the text, `title`
    its title.
    """

    text: str
    html: bool = False
    readable: bool = True
    media: bool = False
    title: str = ""
    login: str | None = None
    doubt: str | None = None
    error: bool = False
    drawn: bool = False
    refresh: str | None = None
    blocks: tuple[str, ...] = field(default=(), repr=False)

    def shows(self, wanted: str) -> bool:
        """Whether a text can be read on it; on a login page outside of what is about signing in, on one that says that there is
        no such page outside of what repeats for what was asked."""
        wanted = folded(wanted)
        if not self.login and not self.error:
            return wanted in self.text
        other = _SIGN_IN_ANYWHERE if self.login else _NOTHING_THERE
        return wanted in " ".join(block for block in self.blocks if not other.search(block))


def folded(text: str) -> str:
    """A text without what a reader does not see: compatibility forms, kinds of blanks, quotes and dashes, invisible characters."""
    if text.isascii():
        return " ".join(text.split())
    text = unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY)
    return " ".join("".join(character for character in text if unicodedata.category(character) != "Cf").split())


_TYPOGRAPHY = str.maketrans(
    {**dict.fromkeys("‘’‚‛′", "'"), **dict.fromkeys("“”„‟″", '"'), **dict.fromkeys("‐‑‒–—―−", "-")}
)


def read_page(body: bytes, content_type: str) -> Page:
    """What a body of this `Content-Type` (empty when there is none) shows, in time that is bounded. Never raises."""
    kind = content_type.partition(";")[0].strip().lower()
    said = _CHARSET.search(content_type)
    if "html" in kind or "xml" in kind or (not kind and body.lstrip()[:1] == b"<") or _IS_HTML.match(body):
        return _html(body, said[1] if said else None)
    if kind.startswith("text/") or not kind or kind.endswith(("json", "yaml", "markdown", "javascript")):
        text = folded(_decoded(body, said[1] if said else None))
        doubt = _error_reply(body) if kind.endswith("json") else _says_nothing([text])
        return Page(text, doubt=doubt, error=doubt is not None, blocks=(text,))
    return Page("", readable=False, media=bool(body))


def refreshed(value: str) -> str | None:
    """The address to which a `Refresh` leads within a minute; None where it reloads the page itself or waits longer."""
    match = _REFRESH.fullmatch(value)
    if match is None or not match["url"]:
        return None
    if match["wait"] not in ("", ".") and float(match["wait"]) >= _LONGEST_WAIT:
        return None
    url = match["url"].strip()
    quote = url[:1] if url[:1] in ("'", '"') else ""
    return (url[1:].partition(quote)[0] if quote else url).strip() or None


def _html(body: bytes, charset: str | None) -> Page:
    markup = _NOSCRIPT.sub(
        lambda found: "" if found["noscript"] else found[0], _decoded(body, charset or _declared(body))
    )
    if _explodes(markup):
        return Page("", html=True, readable=False, media=True, doubt="has markup that is too tangled to be read")
    tree = LexborHTMLParser(markup)
    blocks = tuple(block for block in map(folded, _blocks(tree.root)) if block)
    text = " ".join(blocks)
    title = folded(node.text(deep=True)) if (node := tree.css_first("title")) else ""
    frames = tree.css_first("script, iframe, frame") is not None or "onload" in _attributes(tree.css_first("body"))
    error = _no_document(tree, title, () if frames else blocks)
    return Page(
        text=text,
        html=True,
        media=tree.css_first(_MEDIA) is not None,
        title=title,
        login=_login(tree),
        doubt=error or _doubt(tree, title),
        error=error is not None,
        drawn=(frames and len(text) < _A_DOCUMENT) or tree.css_first("template[shadowrootmode]") is not None,
        refresh=_refresh(tree),
        blocks=blocks,
    )


def _explodes(markup: str) -> bool:
    """Whether parsing takes more than some tenths of a second: HTML's rules cost each tag as much as it is deep."""
    depth = deepest = styled = most_styled = tags = 0
    for closing, name in _TAG.findall(markup):
        tags += 1
        name = name.lower()
        if name in _UNCLOSED:
            continue
        step = -1 if closing else 1
        depth = max(0, depth + step)
        deepest = max(deepest, depth)
        if name in _FORMATTING:
            styled = max(0, styled + step)
            most_styled = max(most_styled, styled)
    if deepest * tags > _MOST_WORK or most_styled * tags > _MOST_WORK // 10:
        return True
    return any(len(_QUOTED.sub("", tag).split()) > _MOST_ATTRIBUTES for tag in _LONG_TAG.findall(markup))


_IS_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!--[^>]*-->\s*)?<(?:!doctype\s+html|html)\b", re.IGNORECASE)
# What stands in <noscript> no browser shows; the word in a comment or a script begins none.
_NOSCRIPT = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|textarea|title|xmp)\b.*?(?:</\1\s*>|\Z)|(?P<noscript><noscript\b.*?(?:</noscript\s*>|\Z))",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/><]*)")
_LONG_TAG = re.compile(r"<[a-zA-Z][^<>]{10000,}")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_MOST_ATTRIBUTES = 2000
_UNCLOSED = frozenset(
    {
        *(
            "area",
            "base",
            "br",
            "col",
            "embed",
            "hr",
            "img",
            "input",
            "link",
            "meta",
            "param",
            "source",
            "track",
            "wbr",
        ),
        *("p", "li", "dt", "dd", "td", "th", "tr", "tbody", "thead", "tfoot", "colgroup", "caption"),
        *("option", "optgroup", "rt", "rp"),
    }
)
_FORMATTING = frozenset(
    {"a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"}
)
_MOST_WORK = 50_000_000


_XML = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml\b[^>]{0,200}?\bencoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})[\"']")
_AS_BROWSERS_DO = {  # the labels that mean more than their names say: the Encoding Standard
    **dict.fromkeys(("iso-8859-1", "latin1", "latin-1", "us-ascii", "ascii", "iso8859-1"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk", "x-gbk", "gb-2312", "chinese"), "gb18030"),
    **dict.fromkeys(("shift-jis", "sjis", "x-sjis", "ms-kanji", "windows-31j"), "cp932"),
    **dict.fromkeys(("euc-kr", "ks-c-5601-1987", "korean", "ksc5601"), "cp949"),
    **dict.fromkeys(("big5", "big5-hkscs", "x-x-big5"), "big5hkscs"),
    **dict.fromkeys(("iso-8859-9", "latin5"), "cp1254"),
    **dict.fromkeys(("iso-8859-11", "tis-620"), "cp874"),
}


def _declared(body: bytes) -> str | None:
    """The charset that the page itself declares, in its first kilobytes as browsers look for it; they read no UTF-16 so."""
    charset = _said(body)
    return "utf-8" if charset and charset.lower().startswith("utf-16") else charset


def _said(body: bytes) -> str | None:
    if declared := _XML.match(body):
        return declared[1].decode("ascii")
    for node in LexborHTMLParser(body[:4096].decode("latin-1")).css("meta"):
        attributes = _attributes(node)
        if charset := attributes.get("charset"):
            return charset
        if attributes.get("http-equiv", "").lower() == "content-type" and (
            match := _CHARSET.search(attributes.get("content", ""))
        ):
            return match[1]
    return None


def _decoded(body: bytes, charset: str | None) -> str:
    for mark, encoding in ((codecs.BOM_UTF8, "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if body.startswith(mark):
            return body.decode(encoding, "replace")
    name = (charset or "").strip().lower()
    name = _AS_BROWSERS_DO.get(name.replace("_", "-"), name)
    try:
        return body.decode(name or "utf-8", "replace" if name else "strict")
    except (
        LookupError,
        ValueError,
    ):  # a charset that nobody knows; bytes that are no UTF-8 and say nothing of themselves
        return body.decode("utf-8" if name else "cp1252", "replace")


def _blocks(root: LexborNode | None) -> Iterator[str]:
    """The text that can be read, part by part, as the elements break it."""
    text: list[str] = []
    node = root
    while node is not None:
        enters = node.child is not None and not _unread(node)
        if node.is_text_node:
            text.append(node.text_content or "")
        elif text and not _is_inline(node):
            yield "".join(text)
            text = []
        if enters:
            node = node.child
            continue
        while node is not None and node.next is None:
            node = node.parent
            if node is not None and not _is_inline(node) and text:
                yield "".join(text)
                text = []
        node = node.next if node is not None else None
    if text:
        yield "".join(text)


def _is_inline(node: LexborNode) -> bool:
    return node.tag in _INLINE or not node.is_element_node


def _unread(node: LexborNode) -> bool:
    if not node.is_element_node:
        return False
    attributes = _attributes(node)
    return (
        node.tag in _UNREAD
        or (node.tag == "title" and node.parent is not None and node.parent.tag == "svg")
        or "hidden" in attributes
        or "popover" in attributes
        or (node.tag == "dialog" and "open" not in attributes)
        or _HIDDEN.search(attributes.get("style", "")) is not None
    )


def _attributes(node: LexborNode | None) -> dict[str, str]:
    return {name: value or "" for name, value in node.attributes.items()} if node is not None else {}


def _login(tree: LexborHTMLParser) -> str | None:
    """Why a page can be nothing but a login: what asks for a secret, or hands one on."""
    for node in tree.css("input"):
        attributes = _attributes(node)
        if attributes.get("type", "").strip().lower() == "password":
            return "has a password field"
        if attributes.get("name", "").lower() in _ASSERTION:
            return "hands a sign-in on to another site"
        if {"username", "current-password", "webauthn"} & set(attributes.get("autocomplete", "").lower().split()):
            return "asks for a user name"
    return None


def _no_document(tree: LexborHTMLParser, title: str, blocks: tuple[str, ...]) -> str | None:
    """Why a page says that there is no document: in its title, a first-rank or first heading, or how a short one begins."""
    headings = [title, *(folded(node.text(deep=True)) for node in tree.css("h1"))]
    if first := tree.css_first("h1, h2, h3, h4"):
        headings.append(folded(first.text(deep=True)))
    if doubt := _says_nothing(headings):
        return doubt
    if sum(map(len, blocks)) >= _A_DOCUMENT:
        return None
    empty = next((block for block in blocks if _PLACEHOLDER.fullmatch(block)), "")
    return _says_nothing(blocks[:1]) or (f"says {empty[:80]!r}" if empty else None)


def _says_nothing(headings: Iterable[str]) -> str | None:
    for part in (part for heading in headings for part in (*_BREAK.split(heading), heading)):
        if _NO_DOCUMENT.fullmatch(part.removeprefix("Oops! ").removeprefix("Sorry, ")):
            return f"is titled {part[:80]!r}"
    return None


def _error_reply(body: bytes) -> str | None:
    """Why JSON that came with a 200 reports an error."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    for key, value in found.items():
        if key.lower() in _ERROR_KEYS and value:
            return f"reports an error in {key!r}"
        if key.lower() in ("status", "code", "statuscode", "status_code") and (
            value in ("error", "fail", "failed", "failure") or (isinstance(value, int) and 400 <= value < 600)
        ):
            return f"reports the {key} {value}"
        if key.lower() in ("ok", "success") and value is False:
            return f"reports that {key!r} is false"
    return None


def _doubt(tree: LexborHTMLParser, title: str) -> str | None:
    """Why a page may be a login."""
    headings = [title, *(folded(node.text(deep=True)) for node in tree.css("h1"))]
    for part in (part for heading in headings for part in _BREAK.split(heading)):
        if _SIGN_IN.fullmatch(part):
            return f"is titled {part!r}"
    for node in tree.css("input"):
        attributes = _attributes(node)
        kind = attributes.get("type", "text").strip().lower() or "text"
        if (
            kind in ("text", "email", "tel")
            and not {"readonly", "disabled"} & attributes.keys()
            and not _searches(node)
        ):
            return f"asks for {'an address' if kind == 'email' else 'a text'}"
        if kind in ("submit", "button", "image") and _SIGN_IN.fullmatch(folded(attributes.get("value", ""))):
            return "has a button to sign in"
    for node in tree.css("a, button, [role=button]"):
        attributes = _attributes(node)
        label = folded(node.text(deep=True)) or folded(attributes.get("aria-label", ""))
        if _SIGN_IN.fullmatch(label) or (node.tag == "a" and LOGIN_PATH.search(_path(attributes.get("href", "")))):
            return f"has a {'link' if node.tag == 'a' else 'button'} to sign in"
    return None


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _searches(node: LexborNode) -> bool:
    """Whether a field is one to search with."""
    name = _attributes(node).get("name", "")
    if _SEARCH_FIELD.fullmatch(name):
        return True
    if _IDENTITY.fullmatch(name):
        return False
    ancestor: LexborNode | None = node
    while ancestor is not None and ancestor.is_element_node:
        attributes = _attributes(ancestor)
        words = (
            attributes.get(key, "") for key in ("role", "action", "id", "class", "name", "placeholder", "aria-label")
        )
        if _SEARCH.search(" ".join(words)):
            return True
        if ancestor.tag == "form":
            return False
        ancestor = ancestor.parent
    return False


def _refresh(tree: LexborHTMLParser) -> str | None:
    """Where a `<meta http-equiv=refresh>` leads."""
    for node in tree.css("meta[http-equiv]"):
        attributes = _attributes(node)
        if attributes["http-equiv"].strip().lower() == "refresh":
            return refreshed(attributes.get("content", ""))
    return None
