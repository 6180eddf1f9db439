"""Keeps the cookies that servers set for one connection: sticky load balancers and logins want these cookies back.

A cookie goes back only to the origin (scheme, host and port) that set the cookie. The `Domain` attribute, which asks to
send a cookie to more hosts, is ignored. A cookie does not expire while its connection lives. Source: RFC 6265.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from . import urls
from .headers import parse_date

# Keep at most `_MOST` cookies of one origin, and no cookie with more than `_LONGEST` characters in name and value:
# otherwise a hostile server could fill the memory. RFC 6265, section 6.1, asks clients to keep at least this much.
_MOST = 50
_LONGEST = 4096

# Servers delete a cookie by an `Expires` date in the past, often in 1970. A date before this moment (seconds since
# 1970; the beginning of 2000) deletes the cookie even if the current time is not known.
_LONG_AGO = 946_684_800.0

# Ignore `Set-Cookie` headers with control characters or bytes that are no UTF-8: HTTP clients send such a cookie in
# different ways, or raise an error.
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_MAX_AGE = re.compile(r"-?[0-9]+")


class CookieStore:
    """The cookies of one connection, by origin (scheme, host and port), path and name."""

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, int], dict[tuple[str, str], str]] = {}

    def store(self, url: str, set_cookie_values: Iterable[str], now: float = 0.0) -> None:
        """Store the cookies of an HTTP response. Malformed `Set-Cookie` headers are ignored.

        Args:
            url: URL of the request.
            set_cookie_values: the value of each `Set-Cookie` header.
            now: the current time in seconds since 1970. A cookie that has expired before this time is deleted.
        """
        origin = urls.origin(url)
        for text in set_cookie_values:
            pair, _, attribute_text = text.partition(";")
            name, equals, value = pair.partition("=")
            name, value = name.strip(), value.strip()
            if not name or not equals or len(name) + len(value) > _LONGEST or _UNSENDABLE.search(text):
                continue
            attributes = _attributes(attribute_text)
            if "secure" in attributes and origin[0] != "https":
                continue
            cookies = self._cookies.setdefault(origin, {})
            key = (name, _path(attributes.get("path", ""), url))
            if _deletes(attributes, now):
                cookies.pop(key, None)
            elif key in cookies or len(cookies) < _MOST:
                cookies[key] = value

    def header(self, url: str) -> str | None:
        """Return the value of the `Cookie` header for a request to this URL; `None` if no cookie fits the URL."""
        if not self._cookies:
            return None
        path = _request_path(url)
        cookies = self._cookies.get(urls.origin(url), {})
        fitting = [(at, f"{name}={value}") for (name, at), value in cookies.items() if _covers(at, path)]
        fitting.sort(key=lambda cookie: -len(cookie[0]))
        return "; ".join(pair for _, pair in fitting) or None


def _attributes(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _deletes(attributes: dict[str, str], now: float) -> bool:
    max_age = attributes.get("max-age", "")
    if _MAX_AGE.fullmatch(max_age):
        return max_age.startswith("-") or not max_age.strip("0")
    expires = parse_date(attributes.get("expires", ""))
    return expires is not None and expires <= max(now, _LONG_AGO)


def _request_path(url: str) -> str:
    return "/" + urls.without_query(url).partition("://")[2].partition("/")[2]


def _path(attribute: str, url: str) -> str:
    if attribute.startswith("/"):
        return attribute
    return _request_path(url).rpartition("/")[0] or "/"


def _covers(cookie_path: str, path: str) -> bool:
    return path == cookie_path or path.startswith(cookie_path if cookie_path.endswith("/") else cookie_path + "/")
