"""Checks the URL of a hub, and extends it for the requests. The user's path and query are sent unchanged.

No function here decodes the parts of a URL and encodes them again: this would change queries that another program has
signed. Source: TransportProtocols.md of dotnet/aspnetcore for `negotiate` and `id`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote_plus

from .redaction import redact

# The regular expression of RFC 3986, appendix B, for a URL with a host. Do not use `urllib.parse.urlsplit`: it silently
# drops line breaks and tabs, and the client would connect to another URL than the user gave.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>(?:\?[^#]*)?)"
)
_UP_TO_PATH = re.compile(r"[^/?#]*://[^/?#]*")
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[^:]*))?")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9._~%-]+)?\]")
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_USERINFO = re.compile(r"^([^/]*//)[^/]*@")

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_PORTS = {"http": 80, "https": 443}
_PATH_SAFE = "/%:@!$&'()*+,;=~"
_QUERY_SAFE = "".join(map(chr, range(0x21, 0x7F)))
# The longest host name in DNS (RFC 1035). Longer names must not be encoded: the time that the standard library's IDNA
# needs grows with the square of the length.
_LONGEST_HOST = 253
# Refuse these characters in a host name: the standard library encodes them by IDNA 2003, which gives another host name
# than IDNA 2008.
_DEVIATIONS = frozenset("ßς\u200c\u200d")


def hub_url(url: str) -> str:
    """Check a hub's URL and return it ready to send: with http or https, and without a fragment.

    Args:
        url: an absolute URL with http or https, or with ws or wss, which mean http and https. The query is kept.

    Raises:
        ValueError: the text cannot be the URL of a hub. The error says why, and holds neither query nor password.

    Example:
        >>> hub_url("wss://example.com/my chat?room=1#top")
        'https://example.com/my%20chat?room=1'
    """
    if not isinstance(url, str):
        raise TypeError(f"the hub's URL must be a str, not {type(url).__name__}")
    url = url.strip()
    if _UNSENDABLE.search(url):
        raise ValueError("the hub's URL holds a control character or half a surrogate pair")
    found = _URL.match(url)
    scheme = _SCHEMES.get(found["scheme"].lower()) if found else None
    if found is None or scheme is None:
        start = redact(without_query(url), 60)
        shown = "" if "@" in start else f", not {start!r}"  # the text before an @ may be a password
        raise ValueError(f"the hub's URL must start with http:// or https:// and name a host{shown}")
    path = quote(_STRAY_PERCENT.sub("%25", found["path"]), safe=_PATH_SAFE) or "/"
    return f"{scheme}://{_authority(found['authority'])}{path}{quote(found['query'], safe=_QUERY_SAFE)}"


def _authority(text: str) -> str:
    if "@" in text:
        raise ValueError("the hub's URL holds a user or password: use headers= or access_token= instead")
    parts = _AUTHORITY.fullmatch(text)
    if parts is None:
        raise ValueError("the hub's URL has no valid host and port")
    host, port = _host(parts["host"]), parts["port"]
    if not port:
        return host
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) <= 65535):
        raise ValueError("the hub's URL has no valid port: it must be a number from 1 to 65535")
    return f"{host}:{int(port)}"


def _host(host: str) -> str:
    if not host:
        raise ValueError("the hub's URL names no host")
    name = host if len(host) <= _LONGEST_HOST else ""
    if not name.isascii():
        try:
            name = host.encode("idna").decode("ascii")
        except UnicodeError:
            name = ""
        if not _DEVIATIONS.isdisjoint(host):
            name = ""
    if len(name) > _LONGEST_HOST or not _HOST.fullmatch(name):
        advice = "" if host.isascii() else "; write it in its ASCII form (xn--…)"
        raise ValueError(f"the hub's URL has no valid host: {redact(host)!r}{advice}")
    return name


def negotiate_url(url: str, *, stateful: bool = False) -> str:
    """Return the URL for the negotiate request: `negotiate` is added to the path, and the query is kept.

    Args:
        url: as `hub_url` returned it.
        stateful: whether to ask for stateful reconnect.

    Example:
        >>> negotiate_url("https://example.com/chat?room=1")
        'https://example.com/chat/negotiate?room=1&negotiateVersion=1'
    """
    names = {unquote_plus(pair.partition("=")[0]) for pair in url.partition("?")[2].split("&")}
    url = below(url, "negotiate")
    if "negotiateVersion" not in names:
        url = _append(url, "negotiateVersion=1")
    if stateful and "useStatefulReconnect" not in names:
        url = _append(url, "useStatefulReconnect=true")
    return url


def refresh_url(url: str) -> str:
    """Return the URL for refreshing the token of a connection: `refresh` is added to the path, the query is kept.

    Example:
        >>> refresh_url("https://example.com/chat/?room=1")
        'https://example.com/chat/refresh?room=1'
    """
    return below(url, "refresh")


def below(url: str, name: str) -> str:
    """Return the URL with another part at the end of its path. The query is kept."""
    path, mark, query = url.partition("?")
    return f"{path}{'' if path.endswith('/') else '/'}{name}{mark}{query}"


def connect_url(url: str, connection_token: str | None) -> str:
    """Return the URL that transports connect to. A connection token is added to the query as `id`."""
    if connection_token is None:
        return url
    return _append(url, "id=" + quote(connection_token, safe="", errors="replace"))


def with_access_token(url: str, token: str) -> str:
    """Return the URL with the token in its query. A parameter `id` stays last, where servers and proxies expect it."""
    parameter = "access_token=" + quote(token, safe="", errors="replace")
    path, _mark, query = url.partition("?")
    others, also, last = query.rpartition("&")
    return f"{path}?{others}{also}{parameter}&{last}" if last.startswith("id=") else _append(url, parameter)


def _append(url: str, parameter: str) -> str:
    path, _mark, query = url.partition("?")
    return f"{path}?{query}{'&' if query and not query.endswith('&') else ''}{parameter}"


def without_query(url: str) -> str:
    """Return the URL for errors and logs: without query, fragment, user and password, which may be secrets.

    Example:
        >>> without_query("https://me:secret@example.com/chat?access_token=x")
        'https://example.com/chat'
    """
    for mark in "?#":
        url = url.partition(mark)[0]
    return _USERINFO.sub(r"\1", url)


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host in lower case, and port of an absolute http(s) URL.

    Raises:
        ValueError: the text is no absolute http(s) URL.
    """
    found = _UP_TO_PATH.match(url)
    try:
        return _origin(found[0] if found else "")
    except ValueError:
        raise ValueError(f"this is no absolute http(s) URL: {redact(without_query(url))!r}") from None


# Keep the results in a cache: each connection needs the origin of a URL a dozen times (tests/bench/idle.py, "opened").
# The callers pass only the part of a URL before its path, since path and query may be secret and must not stay in
# memory.
@lru_cache(maxsize=64)
def _origin(url: str) -> tuple[str, str, int]:
    found = _URL.match(url)
    scheme = _SCHEMES.get(found["scheme"].lower()) if found else None
    parts = _AUTHORITY.fullmatch(found["authority"]) if found else None
    if scheme is None or parts is None:
        raise ValueError
    return scheme, parts["host"].lower(), int(parts["port"] or _PORTS[scheme])


def path_of(url: str) -> str:
    """Return the path of an absolute http(s) URL, with its first slash; empty if there is none."""
    found = _URL.match(url)
    return found["path"] if found else ""


def same_origin(a: str, b: str) -> bool:
    """Return whether both URLs have the same scheme, host and port: only then may credentials be sent to both."""
    return origin(a) == origin(b)
