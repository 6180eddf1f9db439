"""Checks the names of hubs, groups, users and connections, and writes the names as parts of URLs.

Names that are not allowed are refused before a request is sent, because some names change the meaning of the URL: an
event for a group called `..` would be sent to all clients of the hub.

Source: the REST API's swagger and RestApiProvider of Azure/azure-signalr.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

# The pattern for the name of a hub, for the name of an application, and for `application_hub`.
_HUB = re.compile(r"[A-Za-z][A-Za-z0-9_`,.\[\]]{0,127}")
_LONGEST_GROUP = 1024
# Characters that are not escaped: RFC 3986 allows them in a path segment. The service may decode the path of a request
# and encode it again without escaping these characters, to compare the path with the audience of the token. If they
# were escaped here, the service would refuse the token.
_SEGMENT_SAFE = "!$&'()*+,;=:@"
_ESCAPED_PERCENT = re.compile(r"%25(?=[0-9A-Fa-f]{2})")


def hub_name(hub: str, application: str | None = None) -> str:
    """Return a hub's name as the service knows it: in lower case, with the application's name before it.

    Raises:
        ValueError: the service would not accept the name.

    Example:
        >>> hub_name("Chat", "Shop")
        'shop_chat'
    """
    _check_hub("hub", hub)
    if application is not None:
        _check_hub("application", application)
    whole = f"{application}_{hub}" if application is not None else hub
    if not _HUB.fullmatch(whole):
        raise ValueError(f"application and hub name together are over 128 characters: {len(whole)}")
    return whole.lower()


def _check_hub(what: str, name: object) -> None:
    if not (isinstance(name, str) and _HUB.fullmatch(name)):
        raise ValueError(
            f"the {what} name {name!r:.60} is not allowed: it begins with a letter and has up to 128 letters, digits "
            "and _ ` , . [ ]"
        )


def segment(what: str, name: str) -> str:
    """Return the name of a user, group, connection or hub, escaped for use as a segment of a URL's path.

    Args:
        what: the kind of the name in error texts: `user`, `group`, `connection` or `hub`.
        name: the name.

    Raises:
        ValueError: the name is empty or too long, or is `.` or `..`, which change the path of the URL.

    Example:
        >>> segment("group", "a/b c%")
        'a%2Fb%20c%25'
    """
    if not isinstance(name, str):
        raise TypeError(f"the {what} must be a str, not {type(name).__name__}")
    if not name or name.isspace():
        raise ValueError(f"the {what} is empty")
    if name in (".", ".."):
        raise ValueError(f"the {what} cannot be {name!r}: in a URL that means another place")
    if what == "group" and len(name) > _LONGEST_GROUP:
        raise ValueError(f"the group has {len(name)} characters, over the limit of {_LONGEST_GROUP}")
    try:
        return quote(name, safe=_SEGMENT_SAFE)
    except UnicodeEncodeError:
        raise ValueError(f"the {what} holds half a surrogate pair") from None


def several(what: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of several users, groups or connections in the same order, each name only once.

    Args:
        what: the kind of the names in error texts: `user`, `group` or `connection`.
        names: the names.

    Raises:
        TypeError: `names` is one text instead of a list: the characters of the text would be taken for names.
        ValueError: `segment` does not accept one of the names.
    """
    if isinstance(names, str | bytes):
        raise TypeError(f"several {what}s are wanted, in a list: {what} alone is {type(names).__name__}")
    found = tuple(dict.fromkeys(names))
    for name in found:
        segment(what, name)
    return found


def query(*pairs: tuple[str, str | int | None]) -> str:
    """Return the query of a URL, escaped, with all pairs of name and value whose value is not `None`.

    Example:
        >>> query(("api-version", "1"), ("reason", None), ("excluded", "a b"))
        'api-version=1&excluded=a%20b'
    """
    return "&".join(f"{name}={quote(str(value), safe='')}" for name, value in pairs if value is not None)


def audiences(url: str) -> tuple[str, ...]:
    """Return the audiences that the service may want in the token of a REST request, the most probable audience first.

    The audience is the URL of the request without its query. The service may decode the path and escape the path again.
    ASP.NET Core then does not escape a percent sign before two hex digits, so `%2541` in the URL becomes `%41`.

    Example:
        >>> audiences("https://x.test/api/hubs/h/groups/a%2541/:send?api-version=1")
        ('https://x.test/api/hubs/h/groups/a%2541/:send', 'https://x.test/api/hubs/h/groups/a%41/:send')
    """
    sent = url.partition("?")[0]
    return tuple(dict.fromkeys((sent, _ESCAPED_PERCENT.sub("%", sent))))
