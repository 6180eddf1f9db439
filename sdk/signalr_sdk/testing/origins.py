"""Decides which web pages may use the test server: a browser names the page's origin in the header `Origin`."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, TypeAlias

from .._core import urls

if TYPE_CHECKING:
    from collections.abc import Iterable

Origin: TypeAlias = "tuple[str, str, int] | str"
"""Scheme, host and port; or `*` for all pages, or `null` for pages without an origin, for example files."""

_SPECIAL = ("*", "null")


def allowed_origins(origins: Iterable[str]) -> frozenset[Origin]:
    """Check the argument `origins` of `HubServer` and return it as a set.

    Raises:
        ValueError: a value is neither an origin, for example `https://example.com`, nor `*`, nor `null`.
    """
    given = {origins} if isinstance(origins, str) else set(origins)
    return frozenset(each if each in _SPECIAL else urls.origin(each) for each in given)


def is_allowed(origin: str | None, host: str, allowed: frozenset[Origin]) -> bool:
    """Return whether a request with this header `Origin` may use the hub.

    Only browsers send an origin. Pages of this machine count as the server's own, whatever their port is. The header
    `Host` is not used: the host name of a foreign page can resolve to this machine (DNS rebinding).

    Args:
        origin: the header `Origin`; `None` without this header.
        host: the host that the server listens on.
        allowed: what `allowed_origins` returned.
    """
    if origin is None or "*" in allowed or origin in allowed:
        return True
    try:
        parts = urls.origin(origin)
    except ValueError:
        return False
    return parts in allowed or parts[1] == host or _is_loopback(parts[1])


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
