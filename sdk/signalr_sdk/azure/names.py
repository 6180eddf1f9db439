"""Names of hubs, groups, users and connections, and how they become URLs.

A name that is not allowed is refused here, before anything is sent: some would address something else than was meant
(a group called `..` is, in a URL, everybody).

Source: the REST API's swagger and RestApiProvider of Azure/azure-signalr.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

# Also of the application, which is put before the hub's name.
_HUB = re.compile(r"[A-Za-z][A-Za-z0-9_`,.\[\]]{0,127}")
_LONGEST_GROUP = 1024
# RFC 3986's characters of a path segment. Servers that decode a path and encode it again, to compare it with the
# audience of a token, leave them as they are.
_SEGMENT_SAFE = "!$&'()*+,;=:@"
_ESCAPED_PERCENT = re.compile(r"%25(?=[0-9A-Fa-f]{2})")


def hub_name(hub: str, application: str | None = None) -> str:
    """Return the hub's name as the service knows it: in lower case, after the application's.

    Raises:
        ValueError: the service would not accept it.

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
    """Return a name as part of a URL's path.

    Args:
        what: what it names, for errors: `user`, `group` or `connection`.
        name: any text that can be sent.

    Raises:
        ValueError: no URL can carry it.

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
    """Return names, each once, in their order; one text alone is a mistake.

    Raises:
        TypeError: a text instead of several.
        ValueError: no URL can carry one of them.
    """
    if isinstance(names, str | bytes):
        raise TypeError(f"several {what}s are wanted, in a list: {what} alone is {type(names).__name__}")
    found = tuple(dict.fromkeys(names))
    for name in found:
        segment(what, name)
    return found


def query(*pairs: tuple[str, str | int | None]) -> str:
    """Return a query of the pairs that have a value.

    Example:
        >>> query(("api-version", "1"), ("reason", None), ("excluded", "a b"))
        'api-version=1&excluded=a%20b'
    """
    return "&".join(f"{name}={quote(str(value), safe='')}" for name, value in pairs if value is not None)


def audiences(url: str) -> tuple[str, ...]:
    """Return what the token for a REST request may name as its audience, likeliest first.

    It is the URL as sent, without its query. A server that knows the path only decoded encodes it again, and ASP.NET
    Core then takes an escaped percent sign with two hex digits after it for an escape already.

    Example:
        >>> audiences("https://x.test/api/hubs/h/groups/50%25/:send?api-version=1")
        ('https://x.test/api/hubs/h/groups/50%25/:send',)
    """
    sent = url.partition("?")[0]
    return tuple(dict.fromkeys((sent, _ESCAPED_PERCENT.sub("%", sent))))
