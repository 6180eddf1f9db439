"""Selects which of the offered transports are tried, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.redaction import redact
from ..errors import TransportError
from ..options import TransferFormat, Transport

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .._core.negotiation import OfferedTransport


def select(
    offered: Sequence[OfferedTransport],
    wanted: Collection[Transport],
    transfer_format: TransferFormat,
    *,
    web_sockets_supported: bool,
) -> tuple[list[Transport], list[TransportError]]:
    """Return two lists: the transports to try, best first, and an error for each offered transport that is not tried.

    Args:
        offered: the transports that the server offers.
        wanted: the transports that the user allows and that have not failed yet.
        transfer_format: text or binary; transports without this format are not tried.
        web_sockets_supported: whether the HTTP client can open WebSockets.
    """
    candidates: set[Transport] = set()
    # Keep one error for each transport and reason: a wrong server may offer the same transport many thousand times.
    skipped: dict[tuple[str, Transport | None], TransportError] = {}
    unknown = 0
    for offer in offered:
        kind = _KINDS.get(offer.name)
        if kind is None:
            unknown += 1
            if unknown > _NAMED:
                continue
            reason = f"the server offers a transport that is not known here: {redact(offer.name, 40)!r}"
        elif kind not in wanted:
            reason = "not tried: it is not among transports=, or has failed before"
        elif transfer_format not in offer.formats:
            reason = f"not tried: the server offers it without the transfer format {transfer_format}"
        elif kind is Transport.WEBSOCKETS and not web_sockets_supported:
            reason = "not tried: the HTTP client given as http= has no WebSockets"
        else:
            candidates.add(kind)
            continue
        skipped.setdefault((reason, kind), TransportError(reason, transport=kind))
    errors = list(skipped.values())
    if unknown > _NAMED:
        errors.append(TransportError(f"the server offers {unknown - _NAMED} more transports that are not known here"))
    return [kind for kind in Transport if kind in candidates], errors


# At most so many transports that this package does not know get an error each, since a wrong server may offer
# thousands. One more error tells how many others there are.
_NAMED = 5
_KINDS = {str(kind): kind for kind in Transport}
