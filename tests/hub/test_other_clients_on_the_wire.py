"""What breaks in other clients: over HTTP and WebSockets."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.servers import Authority, app_server, http_proxy
from tests.small_hub import COMBINATIONS, SmallHub, kind_of

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HandshakeError,
    HubConnection,
    JsonProtocol,
    Limits,
    NegotiationError,
    SignalRError,
    Timeouts,
    Transport,
    TransportError,
)
from signalr_sdk.messages import Invocation

WS, SSE, LP = Transport.WEBSOCKETS, Transport.SERVER_SENT_EVENTS, Transport.LONG_POLLING


async def stall(_request: web.Request) -> web.StreamResponse | None:
    await asyncio.Event().wait()
    return None


# All transports


@pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)
async def test_it_talks_where_the_server_has_one_transport_only(transport: Transport, protocol: Any) -> None:
    """signalrcore refuses a server that has long polling only, and cannot use MessagePack on long polling."""
    async with SmallHub((transport,), protocol()).running() as small:
        hub = small.client()
        pushed = asyncio.get_running_loop().create_future()
        hub.on("x", pushed.set_result)
        async with hub:
            assert hub.transport is transport
            assert await hub.invoke("Echo", {"a": [1, None, "é"]}) == {"a": [1, None, "é"]}
            assert [n async for n in hub.stream("Count", 3)] == [0, 1, 2]
            small.say(Invocation("x", ["pushed"]))
            assert await pushed == "pushed"


@pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)
async def test_large_messages(transport: Transport, protocol: Any) -> None:
    """A message of 1.5 MB ends pysignalr, one of 40 KB ends aiosignalr."""
    async with SmallHub((transport,), protocol()).running() as small, small.client() as hub:
        for size in (40_000, 1_500_000):
            assert await hub.invoke("Repeat", size) == "x" * size
            assert await hub.invoke("Echo", "y" * size) == "y" * size


async def test_a_message_of_20_megabytes_where_the_limit_allows_it() -> None:
    """The user can set the limit; in aiosignalr nobody can."""
    limits = Limits(message_bytes=32 * 1024 * 1024)
    async with SmallHub((WS,)).running() as small, small.client(limits=limits) as hub:
        assert len(await hub.invoke("Repeat", 20_000_000)) == 20_000_000


async def test_large_calls_of_many_tasks_do_not_mix() -> None:
    """signalrcore mixes the frames of several callers."""
    async with SmallHub((WS,)).running() as small, small.client() as hub:
        texts = [letter * 2_000_000 for letter in "abcdefgh"]
        assert await asyncio.gather(*(hub.invoke("Echo", text) for text in texts)) == texts


async def test_streams_lose_no_item() -> None:
    """signalrcore and the JavaScript client lose items that arrive before somebody subscribes."""
    async with SmallHub((WS,)).running() as small, small.client() as hub:
        for _ in range(200):
            assert [n async for n in hub.stream("Count", 5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("transport", list(Transport))
async def test_a_handshake_without_an_answer_times_out(transport: Transport) -> None:
    """The JavaScript and Swift clients wait for ever; so do signalrcore and pysignalr."""
    async with SmallHub((transport,)).running() as small:
        small.answers_handshake = False
        hub = small.client(timeouts=Timeouts(handshake=0.05))
        with pytest.raises(HandshakeError):
            await hub.start()
        assert hub.state is ConnectionState.DISCONNECTED


@pytest.mark.parametrize("kind", ["negotiate", "websocket"])
async def test_a_server_that_says_nothing_is_not_waited_for_without_end(kind: str) -> None:
    """signalrcore has no timeout anywhere."""
    async with SmallHub((WS,)).running() as small:

        async def before(request: web.Request) -> web.StreamResponse | None:
            return await stall(request) if kind_of(request) == kind else None

        small.before = before
        hub = small.client(timeouts=Timeouts(request=0.05, connect=0.05))
        with pytest.raises(ConnectionFailedError):
            await hub.start()


async def test_stop_does_not_wait_for_a_silent_server() -> None:
    """signalrcore waits until the server happens to send something."""
    async with SmallHub((WS,)).running() as small:

        async def before(request: web.Request) -> web.StreamResponse | None:
            if kind_of(request) != "websocket":
                return None
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.receive()
            await socket.send_str("{}\x1e")
            return await stall(request)

        small.before = before
        hub = small.client(timeouts=Timeouts(close=0.05))
        await hub.start()
        await hub.stop()
        assert hub.state is ConnectionState.DISCONNECTED


# Tokens, cookies, redirects


@pytest.mark.parametrize(
    ("kind", "transport"),
    [("negotiate", WS), ("websocket", WS), ("sse", SSE), ("post", SSE), ("poll", LP), ("post", LP)],
)
async def test_a_401_asks_for_another_token_once(kind: str, transport: Transport) -> None:
    """The server authenticates every poll and POST. The JavaScript client closes instead of getting another token."""
    async with SmallHub((transport,)).running() as small:
        refused: list[str] = []

        async def before(request: web.Request) -> web.StreamResponse | None:
            if kind_of(request) != kind or request.headers["Authorization"] != "Bearer T1":
                return None
            refused.append(kind)
            return web.Response(status=401)

        small.before = before
        tokens = iter(("T1", "T2"))
        async with small.client(access_token=lambda: next(tokens)) as hub:
            assert await hub.invoke("Echo", 1) == 1
        assert refused == [kind]


@pytest.mark.parametrize("transport", list(Transport))
async def test_the_token_is_a_header_on_every_request(transport: Transport) -> None:
    """signalrcore polls and pysignalr negotiates without it; the JavaScript client puts the token into the query."""
    async with SmallHub((transport,)).running() as small:
        async with small.client(access_token="T1") as hub:
            assert await hub.invoke("Echo", 1) == 1
        assert {asked.token for asked in small.asked} == {"Bearer T1"}
        assert not [asked.target for asked in small.asked if "T1" in asked.target]


@pytest.mark.parametrize("transport", list(Transport))
async def test_the_token_of_a_redirect_goes_with_every_request(transport: Transport) -> None:
    """The Java client polls with the first server's token; aiosignalr ignores the redirect."""
    async with SmallHub((transport,)).running() as target, SmallHub().running() as front:

        async def redirect(_request: web.Request) -> web.StreamResponse | None:
            return web.json_response({"url": target.url, "accessToken": "S1"})

        front.before = redirect
        async with front.client(access_token="T1") as hub:
            assert await hub.invoke("Echo", 1) == 1
        assert [asked.token for asked in front.asked] == ["Bearer T1"]
        assert {asked.token for asked in target.asked} == {"Bearer S1"}


@pytest.mark.parametrize("transport", list(Transport))
async def test_cookies_of_negotiate_are_sent_on(transport: Transport) -> None:
    """aiosignalr forgets the cookies; the Java client keeps the old value of a cookie that is set again."""
    async with SmallHub((transport,)).running() as small:
        small.cookies = {"sticky": "1"}
        async with small.client(cookies={"sticky": "0"}) as hub:
            assert await hub.invoke("Echo", 1) == 1
        negotiate, *rest = small.asked
        assert negotiate.headers["Cookie"] == "sticky=0"
        assert {asked.headers.get("Cookie") for asked in rest} == {"sticky=1"}


# WebSockets


async def test_pings_of_the_web_socket_are_answered_also_between_fragments() -> None:
    """signalrcore ends at a ping or mixes it into the message, and answers no ping."""
    async with SmallHub((WS,)).running() as small:
        hub = small.client()
        got = asyncio.get_running_loop().create_future()
        hub.on("x", got.set_result)
        async with hub:
            data = JsonProtocol().encode(Invocation("x", ["whole"]))
            first, rest = data[:10], data[10:]
            small.write(b"\x89\x02\xfe\xff")
            small.write(b"\x01" + bytes([len(first)]) + first)
            small.write(b"\x89\x01\x80")
            small.write(b"\x80" + bytes([len(rest)]) + rest)
            assert await got == "whole"
            assert [await small.pongs.get(), await small.pongs.get()] == [b"\xfe\xff", b"\x80"]


async def test_a_refused_upgrade_is_no_upgrade() -> None:
    """signalrcore takes any 101 in the head for an upgrade; the JavaScript client hides the status."""
    async with SmallHub((WS,)).running() as small:

        async def before(request: web.Request) -> web.StreamResponse | None:
            busy = web.Response(status=503, headers={"X-Request": "101"})
            return busy if kind_of(request) == "websocket" else None

        small.before = before
        with pytest.raises(ConnectionFailedError) as caught:
            await small.client().start()
        (error,) = caught.value.attempts
        assert isinstance(error, TransportError)
        assert error.status == 503


async def test_the_answer_to_an_upgrade_is_checked() -> None:
    """signalrcore does not look at Sec-WebSocket-Accept, and leaves the port out of Host."""
    async with SmallHub((WS,)).running() as small:

        async def before(request: web.Request) -> web.StreamResponse | None:
            if kind_of(request) != "websocket":
                return None
            headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": "wrong"}
            return web.Response(status=101, headers=headers)

        small.before = before
        with pytest.raises(ConnectionFailedError) as caught:
            await small.client().start()
        assert isinstance(caught.value.attempts[0], TransportError)
        host = small.url.split("/")[2]
        assert {asked.headers["Host"] for asked in small.asked} == {host}


async def test_the_next_transport_is_tried() -> None:
    """aiosignalr and the Java client give up when the upgrade is refused."""
    async with SmallHub().running() as small:

        async def before(request: web.Request) -> web.StreamResponse | None:
            return web.Response(status=403) if kind_of(request) in ("websocket", "sse") else None

        small.before = before
        async with small.client() as hub:
            assert hub.transport is LP
            assert await hub.invoke("Echo", 1) == 1
        assert small.count("negotiate") == 3


@pytest.mark.parametrize("transport", list(Transport))
async def test_a_proxy_is_used(transport: Transport) -> None:
    """signalrcore cannot use a proxy."""
    async with SmallHub((transport,)).running() as small, http_proxy() as proxy:
        async with small.client(proxy=proxy.url) as hub:
            assert await hub.invoke("Echo", 1) == 1
        # A connection to the proxy may serve for more than one request; only the first has its line here.
        assert proxy.lines[0].endswith("/hub/negotiate?negotiateVersion=1")


async def test_an_untrusted_certificate_is_refused() -> None:
    """signalr-zero TLS: it verifies nothing unless it is told to."""
    async with app_server(web.Application(), tls=Authority().server()) as url:
        with pytest.raises(NegotiationError, match="certificate"):
            await HubConnection(url, reconnect=False).start()


# Server-Sent Events and long polling


async def test_an_event_stream_has_no_total_timeout() -> None:
    """aiosignalr loses its connection every 5 minutes, by the default timeout of its HTTP client."""
    async with (
        SmallHub((SSE,)).running() as small,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.05)) as session,
        small.client(http=session) as hub,
    ):
        # Timers fire in their order: when this one has, the session's would have.
        asyncio.get_running_loop().call_later(0.1, small.say, Invocation("x", [1]))
        assert await hub.wait_for("x") == (1,)


async def test_pings_go_out_over_posts_too() -> None:
    """signalrcore never sends pings on Server-Sent Events, and elsewhere only with automatic reconnect."""
    async with SmallHub((SSE,)).running() as small, small.client(timeouts=Timeouts(keep_alive=0.02)):
        await small.pinged.wait()


async def test_long_polling_has_neither_pings_nor_a_server_timeout() -> None:
    """signalrcore sends a ping each second; the Swift client cuts idle connections."""
    async with SmallHub((LP,)).running() as small:
        async with small.client(timeouts=Timeouts(keep_alive=0.01, server=0.01)) as hub:
            # Timers fire in their order: when this one has, those would have.
            asyncio.get_running_loop().call_later(0.1, small.say, Invocation("x", [1]))
            assert await hub.wait_for("x") == (1,)
        assert not small.pinged.is_set()


async def test_a_poll_may_bring_several_messages() -> None:
    """signalrcore delivers one message for each poll."""
    async with SmallHub((LP,)).running() as small:
        hub = small.client()
        got: list[int] = []
        done = asyncio.Event()
        hub.on("x", got.append)
        hub.on("end", done.set)
        async with hub:
            small.say(*(Invocation("x", [n]) for n in range(4)), Invocation("end", []))
            await done.wait()
            assert got == [0, 1, 2, 3]
            # The empty one, the handshake's, the one with all this, and the one that waits.
            assert small.count("poll") <= 4


@pytest.mark.parametrize("status", [404, 500])
async def test_a_poll_that_fails_is_the_last(status: int) -> None:
    """signalrcore and the Swift client poll a connection that is gone in a tight loop."""
    async with SmallHub((LP,)).running() as small:
        gone = asyncio.Event()

        async def before(request: web.Request) -> web.StreamResponse | None:
            return web.Response(status=status) if gone.is_set() and kind_of(request) == "poll" else None

        small.before = before
        hub = small.client()
        await hub.start()
        gone.set()
        small.say(Invocation("x", []))
        with pytest.raises(ConnectionClosedError, match=str(status)):
            await hub.wait_closed()
        polls = small.count("poll")
        await hub.stop()
        assert polls == small.count("poll") <= 4


async def test_a_204_ends_the_polling() -> None:
    """aiosignalr polls again and reports an error of its own making."""
    async with SmallHub((LP,)).running() as small:
        hub = small.client()
        await hub.start()
        small.end()
        with pytest.raises(SignalRError):
            await hub.wait_closed()
        assert small.count("poll") <= 3
        assert small.count("delete") == 0


@pytest.mark.parametrize("transport", [SSE, LP])
async def test_there_is_one_post_at_a_time(transport: Transport) -> None:
    """ASP.NET Core answers a second POST with 409."""
    async with SmallHub((transport,)).running() as small, small.client() as hub:
        values = list(range(100))
        assert await asyncio.gather(*(hub.invoke("Echo", n) for n in values)) == values
        assert small.most_posts == 1
