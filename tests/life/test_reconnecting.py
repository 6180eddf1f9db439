"""Reconnecting by policy: when, how often, in which order, and what the user sees. Hours pass in milliseconds here."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any

import pytest
from tests.doubles import without_waiting
from tests.scripted import ScriptedSocket, event, question
from tests.scripted_host import Host, now, settle

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HubConnection,
    Limits,
    NegotiationError,
    NotConnectedError,
    Retry,
    RetryContext,
    ServerTimeoutError,
    Timeouts,
    TokenRequest,
    is_transient,
)
from signalr_sdk.interfaces import HttpResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

ALWAYS = Retry(wait=lambda _state: 0.0, retry=lambda _context: True)


class Asked:
    """A policy that keeps what it is asked, and answers from a list, in the end always the last of it."""

    def __init__(self, *delays: float | None) -> None:
        self.contexts: list[RetryContext] = []
        self.delays = list(delays)

    def next_delay(self, context: RetryContext, /) -> float | None:
        self.contexts.append(context)
        return self.delays.pop(0) if len(self.delays) > 1 else self.delays[0]


class Watched:
    """A policy that keeps what it is asked, and the delays that another one gives."""

    def __init__(self, policy: Retry) -> None:
        self.policy = policy
        self.contexts: list[RetryContext] = []
        self.delays: list[float] = []

    def next_delay(self, context: RetryContext, /) -> float | None:
        self.contexts.append(context)
        delay = self.policy.next_delay(context)
        if delay is not None:
            self.delays.append(delay)
        return delay


# When


@without_waiting
async def test_it_is_back_within_the_policys_delay_of_the_servers_return() -> None:
    """Refused for 30 s. Also after an hour of it, and the handlers are still there."""
    for away in (0.5, 30.0, 3600.0):
        async with Host() as host:
            policy = Watched(Retry())
            hub = host.server.hub(reconnect=policy, timeouts=Timeouts(server=None, keep_alive=None))
            heard: list[int] = []
            hub.on("x", heard.append)
            await hub.start()
            host.go_away()
            await asyncio.sleep(away)
            back_at, host.up = now(), True
            await hub.wait_connected()
            assert now() - back_at <= policy.delays[-1] <= 30.0
            await settle()
            host.sockets[-1].event("x", 1)
            await settle()
            assert heard == [1]
            await hub.stop()


@without_waiting
async def test_clients_that_lose_one_server_together_come_back_spread_over_time() -> None:
    """60 of them, with the default policy; the server is back at once, or after half a minute."""
    random.seed(6)
    for away in (0.0, 30.0):
        async with Host() as host:
            policies = [Watched(Retry()) for _ in range(60)]
            hubs = [host.server.hub(reconnect=policy, timeouts=Timeouts(server=None)) for policy in policies]
            await asyncio.gather(*(hub.start() for hub in hubs))
            host.arrivals.clear()
            host.taken.clear()
            host.go_away(up=not away)
            lost_at = now()
            await asyncio.sleep(away)
            host.up = True
            await asyncio.gather(*(hub.wait_connected() for hub in hubs))
            first = sorted(policy.delays[0] for policy in policies)
            assert len(set(first)) == 60
            assert 0.0 <= first[0] < 0.2
            assert 0.8 < first[-1] <= 1.0
            assert most_within(0.1, host.arrivals) < 20
            assert most_within(1.0 if away else 0.1, host.taken) < 20
            assert len(host.taken) == 60
            assert max(host.taken) <= lost_at + (1.0 if not away else 60.0)
            await asyncio.gather(*(hub.stop() for hub in hubs))


def most_within(seconds: float, times: list[float]) -> int:
    """Return how many of the times lie within such a window at most."""
    return max(sum(start <= time < start + seconds for time in times) for start in times)


@pytest.mark.parametrize("seed", range(10))
@without_waiting
async def test_a_server_that_accepts_and_hangs_up_is_not_hit_in_a_tight_loop(seed: int) -> None:
    """pysignalr connects about 900 times in 2 s."""
    random.seed(seed)
    async with Host() as host:
        host.hangs_up = True
        hub = host.server.hub(reconnect=True)
        await hub.start()
        await asyncio.sleep(8)
        assert 2 <= len(host.arrivals) < 40
        await asyncio.sleep(3600)
        assert len(host.arrivals) < 600
        await hub.stop()


@without_waiting
async def test_attempts_are_counted_anew_after_ten_seconds_of_connection_only() -> None:
    async with Host() as host:
        policy = Asked(1.0)
        hub = host.server.hub(reconnect=policy, timeouts=Timeouts(server=None))
        await hub.start()
        for up in (2.0, 9.9, 10.1, 9.9, 10.1):
            await asyncio.sleep(up)
            host.go_away(up=True)
            await asyncio.sleep(1.0)
            await settle()
            assert hub.state is ConnectionState.CONNECTED
        assert [context.attempt for context in policy.contexts] == [0, 1, 0, 1, 0]
        assert [round(context.elapsed, 1) for context in policy.contexts] == [2.0, 12.9, 0.0, 10.9, 0.0]
        assert all(context.was_connected for context in policy.contexts)
        await hub.stop()


@without_waiting
async def test_a_budget_of_attempts_lasts_for_ever_if_connections_do() -> None:
    """pysignalr gives up at the tenth loss, however many days apart the losses are."""
    async with Host() as host:
        hub = host.server.hub(reconnect=Retry.delays(0, 1), timeouts=Timeouts(server=None, keep_alive=None))
        await hub.start()
        for _day in range(20):
            await asyncio.sleep(86_400)
            host.go_away(up=True)
            await settle()
            assert hub.state is ConnectionState.CONNECTED
        for _ in range(2):
            host.go_away(up=True)
            await asyncio.sleep(1)
        host.go_away(up=True)
        with pytest.raises(ConnectionClosedError):
            await hub.wait_closed()


@pytest.mark.parametrize("status", [503, 429])
@without_waiting
async def test_what_the_server_asks_to_wait_is_waited_when_reconnecting(status: int) -> None:
    async with Host() as host:
        hub = host.server.hub(reconnect=Retry.delays(1, 2, 3))
        await hub.start()
        usual = host.server.negotiate
        host.server.negotiate = lambda: HttpResponse(status, (("Retry-After", "40"),), b"")
        host.go_away(up=True)
        await asyncio.sleep(1.5)
        host.server.negotiate = usual
        waiting_since = now()
        await hub.wait_connected()
        assert now() - waiting_since == pytest.approx(39.5)
        await hub.stop()


@pytest.mark.parametrize("slow", ["the transport", "an upload"])
@without_waiting
async def test_the_delay_counts_from_the_loss_and_not_from_when_all_is_closed(slow: str) -> None:
    async with Host() as host:
        hub = host.server.hub(reconnect=Asked(3.0), timeouts=Timeouts(server=None))
        await hub.start()
        socket = host.sockets[0]

        async def close() -> None:
            await asyncio.sleep(2)
            socket.closed.set()

        async def source() -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(2)

        if slow == "an upload":
            await hub.send("Sum", source())
            await settle()
        else:
            link = hub._life.link
            assert link is not None
            link.connection.transport.close = close  # type: ignore[method-assign]
        socket.say({"type": 7, "allowReconnect": True})
        await settle()
        await hub.wait_connected()
        assert now() == 3.0
        await hub.stop()


@without_waiting
async def test_a_token_provider_that_fails_is_asked_again() -> None:
    tokens: list[str | Exception] = ["first", LookupError("no vault"), TimeoutError("slow vault"), "last"]

    def provide() -> str:
        token = tokens.pop(0)
        if isinstance(token, Exception):
            raise token
        return token

    async with Host() as host:
        policy = Asked(1.0)
        hub = host.server.hub(reconnect=policy, access_token=provide)
        await hub.start()
        host.go_away(up=True)
        await settle()
        await hub.wait_connected()
        assert now() == 3.0
        assert [str(context.error).rpartition(": ")[2] for context in policy.contexts[1:]] == ["no vault", "slow vault"]
        assert all(is_transient(context) for context in policy.contexts)
        assert [request.headers["Authorization"] for request in host.server.requests] == ["Bearer first", "Bearer last"]
        await hub.stop()


@without_waiting
async def test_a_token_provider_is_told_the_attempt_as_the_policy_is() -> None:
    asked: list[TokenRequest] = []

    def provide(request: TokenRequest) -> str:
        asked.append(request)
        return "token"

    async with Host() as host:
        host.up = False
        policy = Asked(1.0)
        hub = host.server.hub(reconnect=policy, retry_start=True, access_token=provide)
        start = asyncio.create_task(hub.start())
        await asyncio.sleep(1.5)
        host.up = True
        await start
        host.go_away()
        await asyncio.sleep(2.5)
        host.up = True
        await hub.wait_connected()
        await asyncio.sleep(10)
        host.go_away(up=True)
        await settle()
        await hub.wait_connected()
        await hub.stop()
        # Three attempts of `start`, one of which succeeds; a loss within 10 s and three attempts; a loss later.
        assert [request.attempt for request in asked] == [0, 1, 2, 3, 4, 5, 1]
        assert [context.attempt for context in policy.contexts] == [0, 1, 2, 3, 4, 0]
        assert {(request.reason, request.refused) for request in asked} == {("connect", None)}


@pytest.mark.usefixtures("expected_errors")
@without_waiting
async def test_a_policy_that_raises_gives_up_and_is_reported() -> None:
    class Broken:
        def next_delay(self, context: RetryContext, /) -> float | None:
            raise LookupError(f"no plan for attempt {context.attempt}")

    async with Host() as host:
        hub = host.server.hub(reconnect=Broken())
        errors: list[Exception] = []
        ended: list[Exception | None] = []
        hub.on_error(errors.append)
        hub.on_closed(ended.append)
        await hub.start()
        host.go_away(up=True)
        with pytest.raises(ConnectionClosedError, match="1006") as caught:
            await hub.wait_closed()
        await settle()
        assert [str(error) for error in errors] == ["no plan for attempt 0"]
        assert repr(ended) == repr([caught.value])


# The first start


@without_waiting
async def test_a_start_is_tried_again_as_the_policy_says() -> None:
    async with Host() as host:
        host.up = False
        policy = Asked(2.0, 3.0, 4.0)
        hub = host.server.hub(retry_start=policy)
        start = asyncio.create_task(hub.start())
        await asyncio.sleep(6)
        assert hub.state is ConnectionState.CONNECTING
        host.up = True
        await start
        assert host.arrivals == [0.0, 2.0, 5.0, 9.0]
        assert [(c.attempt, c.elapsed, c.was_connected) for c in policy.contexts] == [
            (0, 0.0, False),
            (1, 2.0, False),
            (2, 5.0, False),
        ]
        assert isinstance(policy.contexts[0].error, NegotiationError)
        await hub.stop()


CLASSIC = HttpResponse(200, (), b'{"Url":"/signalr","ConnectionToken":"t","ProtocolVersion":"1.5"}')
PERMANENT = [HttpResponse(404), HttpResponse(401), CLASSIC, HttpResponse(200, (), b"<html>")]


@without_waiting
async def test_for_ever_tries_a_start_that_cannot_succeed_again(caplog: pytest.LogCaptureFixture) -> None:
    async with Host() as host:
        accept, answers = host.server.negotiate, list(PERMANENT)
        host.server.negotiate = lambda: answers.pop(0) if answers else accept()
        hub = host.server.hub(reconnect=Retry.forever(wait=lambda _state: 7.0), retry_start=True)
        with caplog.at_level(logging.INFO, "signalr_sdk.hub"):
            await hub.start()
        assert now() == 7.0 * len(PERMANENT)
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert [text.startswith("the connection could not be started, next attempt in 7.0 s") for text in warnings] == [
            True
        ] * len(PERMANENT)
        await hub.stop()


@without_waiting
async def test_for_ever_says_nothing_alarming_of_a_server_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    async with Host() as host:
        host.up = False
        hub = host.server.hub(reconnect=Retry.forever(wait=lambda _state: 7.0), retry_start=True)
        start = asyncio.create_task(hub.start())
        await asyncio.sleep(100)
        host.up = True
        await start
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
        await hub.stop()


@pytest.mark.parametrize("answer", PERMANENT)
@without_waiting
async def test_for_ever_after_a_loss_changes_nothing_for_the_first_start(answer: HttpResponse) -> None:
    async with Host() as host:
        host.server.negotiate = lambda: answer
        hub = host.server.hub(reconnect=Retry.forever())
        with pytest.raises(NegotiationError):
            await hub.start()
        assert (now(), hub.state) == (0.0, ConnectionState.DISCONNECTED)


@pytest.mark.parametrize("last", ["close", "classic"])
@without_waiting
async def test_for_ever_ends_by_stop_alone(last: str) -> None:
    async with Host() as host:
        hub = host.server.hub(reconnect=Retry.forever(), timeouts=Timeouts(server=None, keep_alive=None))
        story = story_of(hub)
        await hub.start()
        if last == "close":
            for _ in range(5):
                host.sockets[-1].say({"type": 7, "error": "go away", "allowReconnect": False})
                await asyncio.sleep(60)
                assert hub.state is ConnectionState.CONNECTED
            assert len(host.taken) == 6
        else:
            host.server.negotiate = lambda: CLASSIC
            host.go_away()
            await asyncio.sleep(4 * 3600)
            assert hub.state is ConnectionState.RECONNECTING
        await hub.stop()
        await hub.wait_closed()
        await settle()
        assert story[-1] == ("closed", None)
        assert [entry for entry in story if entry[0] == "closed"] == [("closed", None)]


@pytest.mark.parametrize("how", ["stop", "cancel"])
@without_waiting
async def test_a_start_that_waits_for_its_next_attempt_can_be_ended(how: str) -> None:
    async with Host() as host:
        host.up = False
        hub = host.server.hub(retry_start=Asked(3600.0))
        ended: list[Exception | None] = []
        hub.on_closed(ended.append)
        start = asyncio.create_task(hub.start())
        await asyncio.sleep(1)
        if how == "stop":
            await hub.stop()
            with pytest.raises(ConnectionClosedError, match="stop"):
                await start
        else:
            start.cancel()
            with pytest.raises(asyncio.CancelledError):
                await start
        assert hub.state is ConnectionState.DISCONNECTED
        assert now() == 1.0
        assert len(host.arrivals) == 1
        assert ended == []  # it was never connected


@without_waiting
async def test_what_will_not_pass_ends_a_start_but_not_a_reconnect() -> None:
    async with Host() as host:
        usual = host.server.negotiate

        def refuse() -> HttpResponse:
            host.arrivals.append(now())
            return HttpResponse(404, (), b"")

        host.server.negotiate = refuse
        hub = host.server.hub(reconnect=True, retry_start=True)
        with pytest.raises(NegotiationError) as caught:
            await hub.start()
        assert (caught.value.status, len(host.arrivals)) == (404, 1)
        host.server.negotiate = usual
        await hub.start()
        host.server.negotiate = refuse
        host.go_away(up=True)
        await asyncio.sleep(600)
        assert hub.state is ConnectionState.RECONNECTING
        host.server.negotiate = usual
        await hub.wait_connected()
        await hub.stop()


# Calls meanwhile


@without_waiting
async def test_calls_wait_for_the_connection_for_the_time_that_is_set() -> None:
    async with Host() as host:
        hub = host.server.hub(reconnect=Asked(20.0), timeouts=Timeouts(ready=15, server=None))
        await hub.start()
        host.go_away(up=True)
        await settle()
        assert hub.state is ConnectionState.RECONNECTING
        calls = (hub.invoke("X"), hub.send("X"), hub.stream("X").next())
        started = now()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert now() - started == 15.0
        assert [type(each) for each in results] == [NotConnectedError] * 3
        assert all("Timeouts.ready" in str(each) for each in results)
        await asyncio.sleep(4)
        await hub.send("Late")
        assert now() == 20.0
        assert (await host.sockets[-1].next())["target"] == "Late"
        await hub.stop()


@pytest.mark.parametrize("how", ["the policy gives up", "stop"])
@without_waiting
async def test_calls_that_wait_are_told_when_there_will_be_no_connection(how: str) -> None:
    async with Host() as host:
        hub = host.server.hub(reconnect=Asked(5.0, None) if how != "stop" else Asked(5.0))
        await hub.start()
        host.go_away()
        await settle()
        calls = [asyncio.create_task(hub.invoke("X")) for _ in range(2)]
        await asyncio.sleep(1)
        if how == "stop":
            await hub.stop()
        results = await asyncio.gather(*calls, return_exceptions=True)
        for each in results:
            assert isinstance(each, NotConnectedError)
            assert isinstance(each.__cause__, ConnectionClosedError | ConnectionFailedError)
        assert results[0] is not results[1]
        assert now() == (1.0 if how == "stop" else 5.0)


# Order, and what ends it


def story_of(hub: HubConnection) -> list[Any]:
    """Return a list that will tell all that happens to it."""
    story: list[Any] = []
    hub.on("x", story.append)
    hub.on_connected(lambda connection_id: story.append(("connected", connection_id)))
    hub.on_reconnecting(lambda error: story.append(("reconnecting", type(error))))
    hub.on_reconnected(lambda connection_id: story.append(("reconnected", connection_id)))
    hub.on_closed(lambda error: story.append(("closed", error)))
    return story


@without_waiting
async def test_handlers_never_hold_up_a_reconnect() -> None:
    """Not that of an event, not on_reconnecting, not on_connected: all come in order when they are through."""
    async with Host() as host:
        hub = host.server.hub(reconnect=ALWAYS, timeouts=Timeouts(server=None, keep_alive=None))
        story: list[Any] = []

        def slow(name: str, seconds: float) -> Callable[..., Any]:
            async def handler(*_arguments: Any) -> None:
                await asyncio.sleep(seconds)
                story.append(name)

            return handler

        hub.on("x", slow("event", 100))
        hub.on_reconnecting(slow("reconnecting", 200))
        hub.on_connected(slow("connected", 300))
        hub.on_reconnected(slow("reconnected", 400))
        await hub.start()
        host.sockets[-1].event("x")
        await settle()
        host.go_away(up=True)
        await settle()
        assert hub.state is ConnectionState.CONNECTED
        host.sockets[-1].event("x")
        host.go_away(up=True)
        await settle()
        assert hub.state is ConnectionState.CONNECTED
        assert (len(host.taken), now(), story) == (3, 0.0, [])
        call = asyncio.create_task(hub.invoke("Add"))
        await settle()
        host.sockets[-1].answer(await host.sockets[-1].next(), 3)
        assert await call == 3
        await asyncio.sleep(3000)
        again = ["reconnecting", "connected", "reconnected"]
        assert story == ["connected", "event", *again, "event", *again]
        await hub.stop()


CLOSES: list[tuple[dict[str, Any], bool, type[Exception] | None, str | None]] = [
    ({}, False, None, None),
    ({"allowReconnect": False}, False, None, None),
    ({"error": "bye"}, False, ConnectionClosedError, "bye"),
    ({"error": "bye", "allowReconnect": False}, False, ConnectionClosedError, "bye"),
    ({"allowReconnect": True}, True, ConnectionClosedError, None),
    ({"error": "bye", "allowReconnect": True}, True, ConnectionClosedError, "bye"),
]


@pytest.mark.parametrize("reconnect", [ALWAYS, Retry(wait=lambda _state: 0.0), None])
@pytest.mark.parametrize(("close", "allowed", "error", "reason"), CLOSES)
@without_waiting
async def test_what_a_close_message_leads_to(
    close: dict[str, Any], allowed: bool, error: type[Exception] | None, reason: str | None, reconnect: Retry | None
) -> None:
    """pysignalr raises whatever the message allows, and ignores a Close without an error."""
    async with Host() as host:
        policy = None if reconnect is None else Watched(reconnect)
        hub = host.server.hub(reconnect=policy)
        story = story_of(hub)
        await hub.start()
        host.sockets[-1].say(event("x", "before"), {"type": 7, **close}, event("x", "never"))
        if reconnect is ALWAYS or (allowed and policy is not None):
            assert policy is not None
            await settle()
            assert hub.state is ConnectionState.CONNECTED
            connected = ("connected", "public-id")
            assert story == [
                connected,
                "before",
                ("reconnecting", ConnectionClosedError),
                connected,
                ("reconnected", "public-id"),
            ]
            asked = policy.contexts[0].error
            assert isinstance(asked, ConnectionClosedError)
            assert (asked.reason, asked.allow_reconnect) == (reason, allowed)
            await hub.stop()
            await hub.wait_closed()
            return
        if error is None:
            await hub.wait_closed()
            ended = None
        else:
            with pytest.raises(error) as caught:
                await hub.wait_closed()
            ended = caught.value
            assert getattr(ended, "reason", None) == reason
            assert getattr(ended, "allow_reconnect", None) == allowed
        await settle()
        assert hub.state is ConnectionState.DISCONNECTED
        assert repr(story) == repr([("connected", "public-id"), "before", ("closed", ended)])
        assert policy is None or len(policy.contexts) == 1


@without_waiting
async def test_a_policy_that_gives_up_later_leaves_the_last_error() -> None:
    async with Host() as host:
        hub = host.server.hub(reconnect=Retry.delays(1, 1))
        story = story_of(hub)
        await hub.start()
        host.go_away()
        with pytest.raises(NegotiationError, match="nobody listens") as caught:
            await hub.wait_closed()
        await settle()
        assert repr(story[1:]) == repr([("reconnecting", ConnectionClosedError), ("closed", caught.value)])
        host.up = True
        await hub.start()
        await hub.stop()
        await hub.wait_closed()


@without_waiting
async def test_stop_in_a_retry_delay_is_no_error() -> None:
    async with Host() as host:
        hub = host.server.hub(reconnect=Asked(3600.0))
        story = story_of(hub)
        await hub.start()
        host.go_away(up=True)
        await asyncio.sleep(10)
        await hub.stop()
        assert now() == 10.0
        await hub.wait_closed()
        await settle()
        assert story[1:] == [("reconnecting", ConnectionClosedError), ("closed", None)]


# Silence


@without_waiting
async def test_a_silent_server_is_left_for_a_new_connection() -> None:
    async with Host() as host:
        policy = Asked(1.0)
        hub = host.server.hub(reconnect=policy)
        await hub.start()
        call = asyncio.create_task(hub.invoke("X"))
        await asyncio.sleep(29.9)
        host.sockets[0].say({"type": 6})
        await asyncio.sleep(29.9)
        assert not call.done()
        await asyncio.sleep(0.2)
        assert hub.state is ConnectionState.RECONNECTING
        with pytest.raises(ConnectionClosedError) as caught:
            await call
        assert isinstance(caught.value.__cause__, ServerTimeoutError)
        assert isinstance(policy.contexts[0].error, ServerTimeoutError)
        await hub.wait_connected()
        assert host.sockets[0].closed.is_set()
        await hub.stop()


@without_waiting
async def test_the_clock_of_the_server_timeout_stands_still_while_we_pause_and_pings_go_on() -> None:
    async with Host() as host:
        hub = host.server.hub(
            timeouts=Timeouts(server=10, keep_alive=3, pause=120), limits=Limits(messages=2), reconnect=False
        )
        handled: list[int] = []

        async def slow(number: int) -> None:
            await asyncio.sleep(20)
            handled.append(number)

        hub.on("x", slow)
        await hub.start()
        await asyncio.sleep(8)
        socket = host.sockets[0]
        for number in range(8):
            socket.event("x", number)
        await asyncio.sleep(60)
        assert socket.waiting > 0  # it does not read
        assert hub.state is ConnectionState.CONNECTED
        pings = sum(message["type"] == 6 for message in drained(socket))
        assert 20 <= pings <= 24
        # All is read after 100 s at most, and then the silence is one.
        with pytest.raises(ServerTimeoutError):
            await hub.wait_closed()
        await asyncio.sleep(120)
        assert handled == list(range(8))


def drained(socket: ScriptedSocket) -> Iterator[dict[str, Any]]:
    while not socket._from_client.empty():
        yield socket._from_client.get_nowait()


# Stop


WHERE = ["on", "on_any", "client result", "on_connected", "on_connected again", "on_reconnecting", "on_reconnected"]


@pytest.mark.parametrize("stalled", [False, True])
@pytest.mark.parametrize("where", WHERE)
@without_waiting
async def test_stop_inside_each_kind_of_handler(where: str, stalled: bool) -> None:
    await stop_inside(where, stalled=stalled)


@pytest.mark.usefixtures("expected_errors")
@pytest.mark.parametrize("stalled", [False, True])
@without_waiting
async def test_stop_inside_on_error(stalled: bool) -> None:
    await stop_inside("on_error", stalled=stalled)


async def stop_inside(where: str, *, stalled: bool) -> None:
    """Stop within `Timeouts.close`, even if the server takes nothing any more."""
    async with Host() as host:
        hub = host.server.hub(reconnect=Asked(0.0), timeouts=Timeouts(close=2, server=None))
        took: list[float] = []

        async def stop(*_arguments: Any) -> None:
            if stalled:
                await hub.wait_connected()
                await settle()
                host.sockets[-1].stalled.clear()
                await hub.send("x" * 100_000)
            before = now()
            await hub.stop()
            took.append(now() - before)

        register(hub, where, stop)
        await hub.start()
        await settle()
        provoke(host, where)
        await hub.wait_closed()
        await asyncio.sleep(5)
        assert took == [2.0 if stalled else 0.0]
        assert hub.state is ConnectionState.DISCONNECTED
        assert all(socket.closed.is_set() for socket in host.sockets)


def register(hub: HubConnection, where: str, stop: Callable[..., Any]) -> None:
    times = 0

    async def second(*arguments: Any) -> None:
        nonlocal times
        times += 1
        if times == 2:
            await stop(*arguments)

    def broken() -> None:
        raise ArithmeticError("on purpose")

    match where:
        case "on" | "client result":
            hub.on("x", stop)
        case "on_connected again":
            hub.on_connected(second)
        case "on_error":
            hub.on("x", broken)
            hub.on_error(stop)
        case _:
            getattr(hub, where)(stop)


def provoke(host: Host, where: str) -> None:
    match where:
        case "on" | "on_any" | "on_error":
            host.sockets[-1].event("x")
        case "client result":
            host.sockets[-1].say(question("q", "x"))
        case "on_connected":
            pass
        case _:
            host.go_away(up=True)
