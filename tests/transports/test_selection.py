"""Which transports are tried, in which order, and why the others are not."""

from __future__ import annotations

from signalr_sdk._core.negotiation import OfferedTransport
from signalr_sdk._transports.selection import select
from signalr_sdk.errors import ConnectionFailedError
from signalr_sdk.options import TransferFormat, Transport

ALL = tuple(Transport)
BOTH = frozenset({"Text", "Binary"})
TEXT = frozenset({"Text"})

OFFER = (
    OfferedTransport("LongPolling", BOTH),
    OfferedTransport("ServerSentEvents", TEXT),
    OfferedTransport("WebSockets", BOTH),
)


def test_the_best_comes_first_whatever_the_order_of_the_offer() -> None:
    candidates, skipped = select(OFFER, ALL, TransferFormat.TEXT, web_sockets_supported=True)
    assert candidates == [Transport.WEBSOCKETS, Transport.SERVER_SENT_EVENTS, Transport.LONG_POLLING]
    assert skipped == []


def test_a_transport_must_carry_the_format() -> None:
    candidates, skipped = select(OFFER, ALL, TransferFormat.BINARY, web_sockets_supported=True)
    assert candidates == [Transport.WEBSOCKETS, Transport.LONG_POLLING]
    assert [str(error) for error in skipped] == [
        "ServerSentEvents: not tried: the server offers it without the transfer format Binary"
    ]


def test_the_user_decides() -> None:
    candidates, skipped = select(OFFER, {Transport.LONG_POLLING}, TransferFormat.TEXT, web_sockets_supported=True)
    assert candidates == [Transport.LONG_POLLING]
    assert [error.transport for error in skipped] == [Transport.SERVER_SENT_EVENTS, Transport.WEBSOCKETS]
    assert "not among transports=" in str(skipped[0])


def test_an_http_client_without_web_sockets() -> None:
    candidates, skipped = select(OFFER, ALL, TransferFormat.TEXT, web_sockets_supported=False)
    assert candidates == [Transport.SERVER_SENT_EVENTS, Transport.LONG_POLLING]
    assert [str(error) for error in skipped] == [
        "WebSockets: not tried: the HTTP client given as http= has no WebSockets"
    ]


def test_unknown_transports_and_formats_are_named_and_skipped() -> None:
    offer = (OfferedTransport("Web\nTransport", BOTH), OfferedTransport("WebSockets", frozenset({"Smoke"})))
    candidates, skipped = select(offer, ALL, TransferFormat.TEXT, web_sockets_supported=True)
    assert candidates == []
    assert str(skipped[0]) == "the server offers a transport that is not known here: 'Web Transport'"
    assert skipped[0].transport is None
    assert skipped[1].transport is Transport.WEBSOCKETS


def test_an_endless_offer_makes_a_short_error() -> None:
    offers = [
        [OfferedTransport(f"Unknown{n}" + "x" * 50, BOTH) for n in range(15_000)],
        [OfferedTransport("WebSockets", frozenset())] * 20_000,
        [OfferedTransport("Unknown", BOTH)] * 20_000,
    ]
    for offer in offers:
        candidates, skipped = select(offer, ALL, TransferFormat.TEXT, web_sockets_supported=True)
        assert candidates == []
        assert len(skipped) <= 6
        assert len(str(ConnectionFailedError("none works", tuple(skipped)))) < 1000
    _, skipped = select(offers[0], ALL, TransferFormat.TEXT, web_sockets_supported=True)
    assert "the server offers 14995 more" in str(skipped[-1])


def test_nothing_offered_nothing_to_try() -> None:
    assert select((), ALL, TransferFormat.TEXT, web_sockets_supported=True) == ([], [])


def test_an_offer_made_twice_is_one_candidate() -> None:
    candidates, _ = select(OFFER * 2, ALL, TransferFormat.TEXT, web_sockets_supported=True)
    assert len(candidates) == 3
