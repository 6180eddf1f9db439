"""One negotiation has one time limit, whoever is slow: redirects, the token provider, the HTTP client."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.doubles import ScriptedHttp, without_waiting

from signalr_sdk import ConnectionFailedError, NegotiationError, Timeouts
from signalr_sdk._http.negotiator import run_negotiation
from signalr_sdk._http.request_sender import RequestSender
from signalr_sdk._transports.contract import TransportSettings
from signalr_sdk._transports.opening import open_transport
from signalr_sdk.errors import TransportError
from signalr_sdk.interfaces import HttpResponse, WebSocketOptions
from signalr_sdk.options import TransferFormat, Transport
from signalr_sdk.retry import RetryContext, is_transient

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalr_sdk._core.negotiation import Endpoint
    from signalr_sdk.interfaces import HttpRequest

HUB = "https://example.com/hub"
OK = HttpResponse(
    200,
    (),
    json.dumps(
        {
            "negotiateVersion": 1,
            "connectionId": "a",
            "connectionToken": "b",
            "availableTransports": [{"transport": "WebSockets", "transferFormats": ["Text"]}],
        }
    ).encode(),
)
REFUSED = HttpResponse(401)


def redirect(n: int) -> HttpResponse:
    return HttpResponse(200, (), json.dumps({"url": f"https://example.com/{n}", "accessToken": "t"}).encode())


class Slow(ScriptedHttp):
    """Takes so many seconds for each answer, and knows no limits."""

    def __init__(self, seconds: float, *answers: HttpResponse) -> None:
        super().__init__(*answers)
        self.seconds = seconds

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        await asyncio.sleep(self.seconds)
        return await super().request(request)


class Deaf(ScriptedHttp):
    """Swallows its cancellation, and goes on until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        while not self.released.is_set():
            with suppress(asyncio.CancelledError):
                await self.released.wait()
        return OK


async def negotiated(http: Any, **options: Any) -> Endpoint:
    timeouts = Timeouts(request=30.0)
    sender = RequestSender(http, HUB, timeouts=timeouts, **options)
    return await run_negotiation(sender, HUB, redirects=100, timeout=timeouts.request)


async def fails(http: Any, **options: Any) -> tuple[ConnectionFailedError, float]:
    """Return the error and the seconds that it took."""
    time = asyncio.get_running_loop().time
    began = time()
    with pytest.raises(ConnectionFailedError) as caught:
        await negotiated(http, **options)
    return caught.value, time() - began


def slow_provider(seconds: float) -> Callable[[], Any]:
    async def provide() -> str:
        await asyncio.sleep(seconds)
        return "token"

    return provide


@without_waiting
async def test_a_hundred_slow_redirects_share_one_limit() -> None:
    error, took = await fails(Slow(29.0, *map(redirect, range(101))))
    assert took < 32
    assert isinstance(error, NegotiationError)
    assert "within 30 s (Timeouts.request)" in str(error)
    assert error.url == "https://example.com/0/negotiate"
    assert is_transient(RetryContext(0, 0.0, error, False))


@without_waiting
async def test_the_provider_and_the_401_count_too() -> None:
    error, took = await fails(Slow(9.0, REFUSED, OK), access_token=slow_provider(9.0))
    assert took < 32
    assert "within 30 s" in str(error)


@without_waiting
async def test_slow_steps_that_fit_are_no_error() -> None:
    endpoint = await negotiated(Slow(7.0, REFUSED, redirect(1), OK), access_token=slow_provider(4.0))
    assert endpoint.connection_id == "a"


@without_waiting
async def test_a_provider_that_never_answers_is_named() -> None:
    error, took = await fails(ScriptedHttp(), access_token=slow_provider(1000.0))
    assert took < 32
    assert "the access token provider did not answer within 30 s" in str(error)


@without_waiting
async def test_a_client_that_knows_no_limits_has_one() -> None:
    error, took = await fails(Slow(1000.0, OK))
    assert took < 32
    assert "within 30 s" in str(error)


@without_waiting
async def test_a_client_that_will_not_be_cancelled_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    http = Deaf()
    error, took = await fails(http)
    assert took < 45
    assert "within 30 s" in str(error)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "left behind" in warnings[0]
    assert "Deaf.request" in warnings[0]
    http.released.set()


class Failed(BaseException):
    """As `pytest.fail()` raises it."""


class Failing(ScriptedHttp):
    async def request(self, request: HttpRequest, /) -> HttpResponse:
        raise Failed("no")


@without_waiting
async def test_whatever_a_client_raises_is_a_connection_that_failed() -> None:
    error, _took = await fails(Failing())
    assert "the HTTP client raised Failed: no" in str(error)


@without_waiting
async def test_without_a_limit_there_is_none() -> None:
    sender = RequestSender(Slow(1000.0, redirect(1), OK), HUB, timeouts=Timeouts(request=None))
    assert (await run_negotiation(sender, HUB, redirects=1, timeout=None)).connection_id == "a"


# Every other request


class SlowToOpen(ScriptedHttp):
    def stream(self, request: HttpRequest, /) -> Any:
        return self

    async def __aenter__(self) -> Any:
        await asyncio.sleep(1000)

    async def __aexit__(self, *_error: object) -> None:
        pass

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        await asyncio.sleep(1000)
        return OK

    async def connect_web_socket(self, request: HttpRequest, options: WebSocketOptions, /) -> Any:
        await asyncio.sleep(1000)


async def _open_stream(sender: RequestSender) -> None:
    async with sender.stream(HUB):
        pass


REQUESTS: dict[str, Callable[[RequestSender], Any]] = {
    "poll": lambda sender: sender.request("GET", HUB, timeout=10.0),
    "refresh": lambda sender: sender.refresh(HUB, "id", timeout=10.0, max_bytes=1),
    "stream": _open_stream,
    "web_socket": lambda sender: sender.connect_web_socket(HUB, WebSocketOptions()),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_a_client_that_knows_no_limits_has_one_for_every_request(what: str) -> None:
    @without_waiting
    async def ask() -> None:
        sender = RequestSender(SlowToOpen(), HUB, timeouts=Timeouts(connect=10.0))
        time = asyncio.get_running_loop().time
        with pytest.raises(TimeoutError, match=r"no answer from example\.com:443 within 10 s"):
            await REQUESTS[what](sender)
        assert time() < 11

    ask()


class WebSocketAfterA401(SlowToOpen):
    """Refuses the first upgrade."""

    refused = False

    async def connect_web_socket(self, request: HttpRequest, options: WebSocketOptions, /) -> Any:
        if not self.refused:
            self.refused = True
            raise TransportError("refused", status=401)
        return FakeWebSocket()


class FakeWebSocket:
    async def nothing(self) -> None:
        pass

    receive = send = flush = close = nothing


@without_waiting
async def test_a_provider_asked_at_the_upgrade_has_a_limit_of_its_own() -> None:
    """An interactive sign-in takes longer than a TCP connection may."""
    timeouts = Timeouts(connect=10.0, request=30.0)
    sender = RequestSender(WebSocketAfterA401(), HUB, timeouts=timeouts, access_token=slow_provider(25.0))
    settings = TransportSettings(TransferFormat.TEXT, 1000)
    await open_transport(Transport.WEBSOCKETS, sender, HUB, settings)
    assert asyncio.get_running_loop().time() == 50


@without_waiting
async def test_a_post_has_no_limit() -> None:
    sender = RequestSender(Slow(1000.0, OK), HUB, timeouts=Timeouts())
    assert (await sender.request("POST", HUB, timeout=None)).status == 200
