"""Secrets in texts: what is hidden wherever an address could be shown or stored.

Below everything else, so that errors can use it. When in doubt, more is hidden: a password may contain '@', '/', '?',
'&' or a space. All of it takes time in proportion to the text.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_WORDS = re.compile(r"(\s+)")
_REFERENCES = re.compile(r"(?:\$\{\w+\}|[:;,._-])*")  # of environment variables, which are no secret themselves
_REFERENCED_USER = re.compile(rf"[\w.\-]{{1,64}}:(?:\$\{{\w+\}})+|{_REFERENCES.pattern}")
_OPENING = "\"'([{<=,"  # what may stand before an address
# 'user:' and a password with a space in it; what follows a port is no password.
_USER_WITH_SPACE = re.compile(
    r"([A-Za-z][\w+.\-]{0,20}://)([^\s:/@]{1,256}:(?!\d{1,5}(?:[/\s,;)]|$))[^@\"'<>]{0,256})@"
)
# A value ends where the next parameter begins: it may hold '&' and '#' itself.
_PARAMETER = re.compile(r"([?&;#])([^=&;#?/\s]{1,64})=(\S*?)(?=[?&;#][\w.\-\[\]%]{1,64}=|\s|$)")
_IN_PATH = re.compile(r"([/_])([A-Za-z][A-Za-z0-9.\-]{0,40})=([^&;?/\s]*?)(?=[&;?/\s]|_[A-Za-z]{1,30}=|$)")
_SECRET = re.compile(
    r"user|usr|login|account|pass|pwd|psw|^pw|pin$|secret|token|auth|credential|key|sig|session|sid|jwt|bearer|ticket"
    r"|nonce|hash|code$|cookie",
    re.I,
)
_STRONG_SECRET = re.compile(
    r"(-{0,2}[\w.\-]{0,64}(?:passw|passphrase|secret|token|credential|api[-_]?key)[\w.\-]{0,64})=", re.I
)
_TOKENS = re.compile(r"(?:[\w.\-]{0,64}[_.\-])?(?:tokens|token_(?:type_)?ids?)", re.I)  # inputs of networks of text
_OF_TOKENS = re.compile(r"[0-9]{1,5}|VALUE|FILE\.np[yz]")
_NEVER_SIZES = re.compile(r"pass|secret|credential|key", re.I)
_SIZES = re.compile(r"[0-9]{1,5}(?:x[0-9]{1,5})+")
_HARMLESS_NAME = re.compile(
    r"channel|ch|subtype|stream|streamtype|profile|resolution|width|height|size|fps|framerate|codec|videocodec|camera"
    r"|cam|transport|proto|tcp|udp|unicast|multicast|ttl|mode|type|audio|video|quality|bitrate|localaddr|pkt_size"
    r"|buffer_size|fifo_size|overrun_nonfatal|timeout|latency|format|version|v",
    re.I,
)
_HARMLESS_VALUE = re.compile(r"[0-9]{0,5}|[0-9]{1,5}x[0-9]{1,5}")


def redacted(text: str) -> str:
    """`text` with the users, passwords and secret parameters of all addresses in it hidden.

    References to environment variables ('${CAMERA_PASSWORD}') stay: they are not the secret.
    """
    if "@" not in text and "=" not in text:
        return text
    if "://" in text:
        text = _USER_WITH_SPACE.sub(_without_user, text)
    return "".join(_redacted_word(word) for word in _WORDS.split(text))


def redacted_address(address: str) -> str:
    """The address itself, as a whole, without secrets: here a space does not end it."""
    scheme, separator, rest = address.partition("://")
    before, at, host = rest.rpartition("@")
    if not (separator and at and before):
        return redacted(address)
    if not _REFERENCED_USER.fullmatch(before):
        before = HIDDEN
    return redacted(f"{scheme}://{before}@{host}")


def _redacted_word(word: str) -> str:
    """A text without spaces, up to the last '@' of its address and in its parameters."""
    if "@" in word:
        word = _without_credentials(word)
    if "=" not in word:
        return word
    if "://" in word:
        word = _PARAMETER.sub(_without_value, word)
        return _IN_PATH.sub(_without_secret_value, word)
    if "?" in word or "&" in word:  # a piece of an address: of its parameters those with telling names
        return _PARAMETER.sub(_without_secret_value, word)
    strong = _STRONG_SECRET.match(word)
    if strong is None or _is_harmless(strong[1], word[strong.end() :]):
        return word
    return f"{strong[1]}={HIDDEN}"


def _is_harmless(name: str, value: str) -> bool:
    """Whether what is assigned to a telling name is no secret: a reference, sizes, tokens by number."""
    if _REFERENCES.fullmatch(value):
        return True
    if _NEVER_SIZES.search(name):
        return False
    plain = value.rstrip(",;.:)'\"")
    if _SIZES.fullmatch(plain):
        return True
    return bool(_TOKENS.fullmatch(name.lstrip("-")) and _OF_TOKENS.fullmatch(plain))


def _without_credentials(word: str) -> str:
    at = word.rfind("@")
    start = word.find("://")
    if 0 <= start < at:
        start += 3
    elif "builtin:" in word or ":" not in word[:at]:  # NAME@WIDTHxHEIGHT, or no password
        return word
    else:  # 'user:password@host', typed without a scheme
        colon = word.find(":")
        start = 1 + max(word.rfind(mark, 0, colon) for mark in _OPENING)
    if start >= at or _REFERENCED_USER.fullmatch(word[start:at]):
        return word
    return f"{word[:start]}{HIDDEN}{word[at:]}"


def _without_user(match: re.Match[str]) -> str:
    if _REFERENCED_USER.fullmatch(match[2]):
        return match[0]
    return f"{match[1]}{HIDDEN}@"


def _without_value(match: re.Match[str]) -> str:
    _, name, value = match.groups()
    harmless = _HARMLESS_NAME.fullmatch(name) or _HARMLESS_VALUE.fullmatch(value)
    if _SECRET.search(name) is None and harmless:
        return match[0]
    return _assignment(match)


def _without_secret_value(match: re.Match[str]) -> str:
    if _SECRET.search(match[2]) is None:
        return match[0]
    return _assignment(match)


def _assignment(match: re.Match[str]) -> str:
    """'NAME=***', or as it was where the value is empty or only a reference."""
    mark, name, value = match.groups()
    if _REFERENCES.fullmatch(value):
        return match[0]
    return f"{mark}{name}={HIDDEN}"
