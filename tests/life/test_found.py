"""What the fuzzers and reviews of start, set-up, reconnect, stop and handler errors have found."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.doubles import LeapingLoop, without_waiting
from tests.scripted import ScriptedServer, ScriptedSocket, question
from tests.scripted_host import Host, now, settle

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionState,
    JsonProtocol,
    Limits,
    Retry,
    RetryContext,
    SetupError,
    SignalRError,
    StateError,
    Timeouts,
)
from signalr_sdk.messages import HubMessage, Ping

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

QUIET = Timeouts(keep_alive=None, server=None, close=2)
AT_ONCE = Retry(wait=lambda _state: 0.0)


class BrokenError(Exception):
    """What a handler raises."""


def fail(*_arguments: Any) -> None:
    raise BrokenError("a bug of the user")


def let_receive_ignore_cancellation(socket: ScriptedSocket, over: asyncio.Event) -> None:
    """Let `receive` be users' code that swallows its cancellation until `over` is set."""

    async def receive() -> bytes | None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue
        return None

    socket.receive = receive  # type: ignore[method-assign]


def is_new(task: asyncio.Task[Any]) -> bool:
    """Return whether a task has not begun."""
    return inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_CREATED  # type: ignore[arg-type]


def cancel_new(name: str) -> int:
    """Cancel the tasks of this name that have not begun; return their number."""
    return sum(task.cancel() for task in asyncio.all_tasks() if task.get_name() == name and is_new(task))


# reconnect() and stop()


@pytest.mark.parametrize("turns", range(8))
async def test_stop_closes_a_connection_that_was_given_up(server: ScriptedServer, turns: int) -> None:
    """Right after `reconnect`, nobody had closed the old connection, and `stop` did not know of it any more."""
    hub = server.hub()
    socket = await server.accept(hub)
    again = asyncio.create_task(hub.reconnect())
    await settle(turns)
    await hub.stop()
    results = await asyncio.gather(again, return_exceptions=True)
    assert isinstance(results[0], ConnectionClosedError | StateError)
    assert socket.closed.is_set()


# handler_errors="raise"


@without_waiting
async def test_a_receive_that_ignores_its_cancellation_does_not_keep_a_failed_connection() -> None:
    async with Host() as host:
        hub = host.server.hub(handler_errors="raise", reconnect=AT_ONCE, timeouts=QUIET)
        hub.on("bad", fail)
        closed: list[Any] = []
        hub.on_closed(closed.append)
        await hub.start()
        over, socket = asyncio.Event(), host.sockets[-1]
        let_receive_ignore_cancellation(socket, over)
        socket.event("bad")
        began = now()
        with pytest.raises(BrokenError):
            await hub.wait_closed()
        assert now() - began < 2
        assert hub.state is ConnectionState.DISCONNECTED
        assert [type(error) for error in closed] == [BrokenError]
        over.set()
        await settle()
        assert len(host.sockets) == 1


async def test_no_reconnect_in_the_turn_of_the_failure(server: ScriptedServer) -> None:
    """It gets the handler's exception, and no other handler is called."""
    hub = server.hub(handler_errors="raise", reconnect=AT_ONCE)
    reconnecting: list[Any] = []
    hub.on_reconnecting(reconnecting.append)
    tasks: list[asyncio.Task[None]] = []

    @hub.on("bad")
    async def bad() -> None:
        tasks.append(asyncio.create_task(hub.reconnect()))
        fail()

    socket = await server.accept(hub)
    socket.event("bad")
    with pytest.raises(BrokenError):
        await hub.wait_closed()
    with pytest.raises(BrokenError):
        await tasks[0]
    assert reconnecting == []
    assert server.sockets.empty()


async def test_events_of_the_same_turn_are_discarded(server: ScriptedServer) -> None:
    """A payload that had arrived before the connection noticed the failure."""
    hub = server.hub(handler_errors="raise")
    called: list[int] = []

    @hub.on("bad")
    async def bad() -> None:
        hub.on("late", called.append)
        asyncio.get_running_loop().call_soon(hub._dispatcher.events, ["late"], [[1]], [10])
        fail()

    socket = await server.accept(hub)
    socket.event("bad")
    with pytest.raises(BrokenError):
        await hub.wait_closed()
    assert called == []


# Set-up


@without_waiting
async def test_a_line_that_is_lost_at_the_end_of_a_set_up_and_a_receive_that_hangs() -> None:
    """The callback for such a receive was the one of the set-up, for ever."""
    async with Host() as host:
        hub = host.server.hub(reconnect=AT_ONCE, timeouts=Timeouts(keep_alive=1, server=3, close=1, setup=10))
        over = asyncio.Event()

        @hub.on_setup
        async def slow(_connection_id: str | None) -> None:
            if len(host.sockets) == 1:
                let_receive_ignore_cancellation(host.sockets[-1], over)
                host.sockets[-1].say({"type": 6})
                await asyncio.sleep(3.5)

        await hub.start()
        lost = asyncio.Event()
        hub.on_reconnected(lambda _connection_id: lost.set())
        async with asyncio.timeout(20):
            await lost.wait()
        over.set()
        await hub.stop()


@pytest.mark.parametrize("first", [True, False])
async def test_the_program_cancels_the_end_of_a_set_up(server: ScriptedServer, *, first: bool) -> None:
    """Before its first step, or in the middle: the handler ends, and the connection is closed."""
    hub = server.hub(timeouts=Timeouts(close=1))
    ended = asyncio.Event()

    @hub.on_setup
    async def hang(_connection_id: str | None) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    await socket.shake_hands()
    await settle()
    if not first:
        socket.stalled.clear()
    socket.vanish()
    cancelled = 0
    for _ in range(50):
        for task in asyncio.all_tasks():
            if task.get_name() == "signalr_sdk end a set-up" and not task.cancelling() and cancelled < 2:
                cancelled += task.cancel()
        await asyncio.sleep(0)
    assert cancelled == 2
    with pytest.raises(SetupError):
        await start
    assert ended.is_set()
    assert socket.closed.is_set()


async def test_an_old_question_is_no_part_of_a_set_up(server: ScriptedServer) -> None:
    """A question of the connection before waits for its turn, and its handler then waits for the connection."""
    hub = server.hub(reconnect=AT_ONCE, limits=Limits(client_results=1))
    goes_on = asyncio.Event()

    @hub.on("ask")
    async def answer(number: int) -> None:
        if number == 1:
            await goes_on.wait()
        else:
            await hub.invoke("FromOldQuestion")

    hub.on_setup(lambda connection_id: hub.invoke("LogIn"))
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    await socket.shake_hands()
    socket.answer(await socket.next())
    await start
    socket.say(question("q1", "ask", 1), question("q2", "ask", 2))
    await settle()
    socket.vanish()
    socket = await server.sockets.get()
    await socket.shake_hands()
    call = await socket.next()
    goes_on.set()
    await settle()
    assert socket._from_client.empty()
    socket.answer(call)
    assert (await socket.next())["target"] == "FromOldQuestion"
    await hub.stop()


@pytest.mark.parametrize("kind", ["handler", "encode", "receive"])
def test_the_program_ends_during_a_set_up(kind: str) -> None:
    """KeyboardInterrupt on the main thread: the connection is closed, and the exception comes out of the loop."""
    sockets: list[ScriptedSocket] = []

    class EndingProtocol(JsonProtocol):
        def encode(self, message: HubMessage, /) -> bytes:
            if kind == "encode" and isinstance(message, Ping):
                raise KeyboardInterrupt
            return super().encode(message)

    def interrupt() -> Any:
        raise KeyboardInterrupt

    async def main() -> None:
        async with Host() as host:
            hub = host.server.hub(protocol=EndingProtocol(), timeouts=QUIET)

            @hub.on_setup
            async def end(_connection_id: str | None) -> None:
                if kind == "receive":
                    host.sockets[-1].receive = interrupt  # type: ignore[method-assign]
                    host.sockets[-1].say({"type": 6})
                    await asyncio.Event().wait()
                interrupt()

            try:
                await hub.start()
            finally:
                sockets.extend(host.sockets)
                assert hub.state is ConnectionState.DISCONNECTED

    with asyncio.Runner(loop_factory=LeapingLoop) as runner, pytest.raises(KeyboardInterrupt):
        runner.run(main())
    assert [socket.closed.is_set() for socket in sockets] == [True]


async def test_stop_and_a_set_up_that_the_program_has_cancelled(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The handler has swallowed its cancellation: it is cancelled again, and named."""
    hub = server.hub(timeouts=Timeouts(close=1))
    over = asyncio.Event()

    @hub.on_setup
    async def stubborn(_connection_id: str | None) -> None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    start = asyncio.create_task(hub.start())
    await (await server.sockets.get()).shake_hands()
    await settle()
    for task in asyncio.all_tasks():
        if "on_setup" in task.get_name():
            task.cancel()
    await settle()
    await hub.stop()
    with pytest.raises(ConnectionClosedError):
        await start
    assert "stubborn" in caplog.text
    over.set()
    await settle()


# The task of the connection


@without_waiting
async def test_the_program_cancels_the_successor_of_a_task_that_hangs() -> None:
    """Before its first step: the connection stayed CONNECTED for ever."""
    async with Host() as host:
        hub = host.server.hub(reconnect=AT_ONCE, timeouts=QUIET)
        closed: list[Any] = []
        hub.on_closed(closed.append)
        await hub.start()
        over = asyncio.Event()
        let_receive_ignore_cancellation(host.sockets[-1], over)
        host.sockets[-1].say({"type": 6})
        await settle()
        cancelled: list[int] = []

        class Canceller(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "left behind" in record.msg:  # the successor is made next
                    call = asyncio.get_running_loop().call_soon
                    call(lambda: cancelled.append(cancel_new("signalr_sdk connection")))

        canceller = Canceller()
        logging.getLogger("signalr_sdk.hub").addHandler(canceller)
        again = asyncio.create_task(hub.reconnect())
        await asyncio.sleep(5)
        logging.getLogger("signalr_sdk.hub").removeHandler(canceller)
        assert cancelled == [1]
        with pytest.raises(SignalRError):
            await again
        assert hub.state is ConnectionState.DISCONNECTED
        assert len(closed) == 1
        over.set()
        await settle()


# Tasks that begin at once: users' code that is called by the package may call `stop`, `reconnect` or `start` at once


class TestEager:
    # `asyncio.eager_task_factory` is new in Python 3.12. The session `alone` runs these tests on the newest Python.
    __test__ = sys.version_info >= (3, 12)

    @pytest.mark.parametrize("policy_of", ["a loss", "an attempt", "a start"])
    @pytest.mark.parametrize("call", ["stop", "reconnect"])
    def test_a_policy_that_calls_the_connection(self, call: str, policy_of: str) -> None:
        @eagerly
        async def play() -> None:
            async with Host() as host:
                tasks: list[asyncio.Task[None]] = []

                class Policy:
                    asked = 0

                    def next_delay(self, _context: RetryContext, /) -> float | None:
                        self.asked += 1
                        if self.asked == (2 if policy_of == "an attempt" else 1):
                            host.up = True
                            tasks.append(asyncio.ensure_future(getattr(hub, call)()))
                            return None if call == "stop" else 100.0
                        return 0.0

                policy = Policy()
                hub = host.server.hub(reconnect=policy, retry_start=policy, timeouts=QUIET)
                closed: list[Any] = []
                hub.on_closed(closed.append)
                host.up = policy_of != "a start"
                start = asyncio.ensure_future(hub.start())
                await settle()
                if policy_of != "a start":
                    await start
                    host.go_away(up=policy_of == "a loss")
                began = now()
                await settle(100)
                if call == "reconnect":
                    await asyncio.gather(start, *tasks)
                    assert hub.state is ConnectionState.CONNECTED
                    assert now() - began < 10
                    await hub.stop()
                else:
                    await asyncio.gather(start, *tasks, return_exceptions=True)
                    assert hub.state is ConnectionState.DISCONNECTED
                await settle()
                assert closed == ([] if policy_of == "a start" and call == "stop" else [None])

        play()

    @pytest.mark.parametrize("end", ["stop", "loss"])
    def test_a_log_handler_that_starts_again(self, end: str) -> None:
        """`on_closed` is told of the end before, and the new connection is not ended with the old one."""

        @eagerly
        async def play() -> None:
            async with Host() as host:
                hub = host.server.hub(reconnect=False, timeouts=QUIET)
                tasks: list[asyncio.Task[None]] = []

                class Starting(logging.Handler):
                    def emit(self, record: logging.LogRecord) -> None:
                        if ("stopped" in record.msg or "has ended" in record.msg) and not tasks:
                            tasks.append(asyncio.ensure_future(hub.start()))

                closed: list[Any] = []
                hub.on_closed(closed.append)
                await hub.start()
                logger, handler = logging.getLogger("signalr_sdk.hub"), Starting()
                logger.addHandler(handler)
                level = logger.level
                logger.setLevel(logging.INFO)
                try:
                    if end == "stop":
                        await hub.stop()
                    else:
                        host.go_away(up=True)
                    await settle(100)
                    await tasks[0]
                finally:
                    logger.setLevel(level)
                    logger.removeHandler(handler)
                assert hub.state is ConnectionState.CONNECTED
                assert len(closed) == 1
                call = asyncio.ensure_future(hub.wait_closed())
                await settle()
                assert not call.done()
                await hub.stop()
                await call
                await settle()
                assert len(closed) == 2

        play()


def eagerly(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test on a `LeapingLoop` whose tasks begin at once."""

    async def whole() -> None:
        if sys.version_info >= (3, 12):
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await test()

    def run() -> None:
        with asyncio.Runner(loop_factory=LeapingLoop) as runner:
            runner.run(whole())

    return run
