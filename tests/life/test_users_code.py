"""Users' code that raises anything, never returns, or is cancelled by others: what ends, who is told, what is left."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.doubles import LeapingLoop, timers, without_waiting
from tests.users.seams import SEAMS, Money, Policy, Protocol, Server, Source
from tests.users.wrongs import FINE, Chance, NastyError, Outcome

from signalr_sdk import (
    AuthenticationRefreshError,
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HubConnection,
    HubError,
    NotConnectedError,
    SignalRError,
    StateError,
    Timeouts,
    Transport,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

CLOSE = 2.0
TIMEOUTS = Timeouts(close=CLOSE, request=20.0, connect=10.0, ready=5.0)

RAISED: dict[str, Callable[[], BaseException]] = {
    "Exception": lambda: ValueError("wrong"),
    "no text": NastyError,
    "lone surrogate": lambda: ValueError("\ud800"),
    "cancelled": asyncio.CancelledError,
    "BaseException": lambda: Outcome("failed"),
    "GeneratorExit": GeneratorExit,
    "StopIteration": StopIteration,
    "ours": lambda: HubError("of another connection", "Method"),
}
ENDINGS: dict[str, Callable[[], BaseException]] = {"KeyboardInterrupt": KeyboardInterrupt, "SystemExit": SystemExit}

# What a live connection stands on, by transport; and what an attempt to connect stands on.
LIVE = [
    (Transport.WEBSOCKETS, "socket receive"),
    (Transport.WEBSOCKETS, "socket send"),
    (Transport.WEBSOCKETS, "protocol decode"),
    (Transport.SERVER_SENT_EVENTS, "stream read"),
    (Transport.SERVER_SENT_EVENTS, "http request"),
    (Transport.LONG_POLLING, "http request"),
]
ATTEMPT = [
    (Transport.WEBSOCKETS, "provider"),
    (Transport.WEBSOCKETS, "http request"),
    (Transport.WEBSOCKETS, "connector"),
    (Transport.WEBSOCKETS, "socket receive"),
    (Transport.WEBSOCKETS, "socket send"),
    (Transport.SERVER_SENT_EVENTS, "http stream"),
    (Transport.LONG_POLLING, "http request"),
]


class Once(Chance):
    """Does one wrong thing, once, at one seam."""

    def __init__(self) -> None:
        super().__init__(1, SEAMS)
        self.reached = asyncio.Event()
        self._seam: str | None = None
        self._raise: Callable[[], BaseException] | None = None
        self._stubborn = False
        self._value: Any = FINE

    def arm(
        self,
        seam: str,
        raised: Callable[[], BaseException] | None = None,
        *,
        stubborn: bool = False,
        value: Any = FINE,
    ) -> None:
        """Raise at this seam the next time; without an exception hang there, and maybe swallow cancellations."""
        self._seam, self._raise, self._stubborn, self._value = seam, raised, stubborn, value
        self.reached.clear()

    def _hit(self, seam: str) -> bool:
        if seam != self._seam:
            return False
        self._seam = None
        self.reached.set()
        if self._raise is not None:
            raise self._raise()
        return True

    async def meddle(self, seam: str) -> Any:
        if not self._hit(seam):
            return FINE
        if self._value is not FINE:
            return self._value
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                if not self._stubborn:
                    raise
        return FINE

    def meddle_now(self, seam: str, *, ends: bool = True) -> Any:
        return self._value if self._hit(seam) else FINE


class Scene:
    """A connection whose users' code is all there, and whose server answers."""

    def __init__(self, transport: Transport = Transport.WEBSOCKETS, **options: Any) -> None:
        self.once = Once()
        self.server = Server(self.once)
        self.closed: list[Exception | None] = []
        self.errors: list[Exception] = []
        self.hub = HubConnection(
            "http://hub.test/chat",
            **{
                "http": self.server,
                "transports": transport,
                "timeouts": TIMEOUTS,
                "reconnect": Policy(self.once),
                "access_token": self.provide,
                "protocol": Protocol(self.once),
                **options,
            },
        )
        self.hub.on_closed(self.closed.append)
        self.hub.on_error(self.errors.append)

    async def provide(self) -> Any:
        wrong = await self.once.meddle("provider")
        return "token" if wrong is FINE else wrong

    def cut(self) -> None:
        """Cut the line."""
        assert self.server.last is not None
        self.server.last.vanish()

    async def works(self) -> None:
        """Return when a call was answered over a connection that is up."""
        await self.hub.wait_connected(60)
        assert await self.hub.invoke("Echo", 1, timeout=60) == 7

    async def stop(self) -> None:
        """Stop in time, and see that nothing is open."""
        began = asyncio.get_running_loop().time()
        await self.hub.stop()
        assert asyncio.get_running_loop().time() - began <= CLOSE + 0.5
        assert self.hub.state is ConnectionState.DISCONNECTED
        for peer in self.server.peers:
            peer.end()


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "left behind" in record.getMessage()]


async def settle(turns: int = 50) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


# Exceptions


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize(("transport", "seam"), LIVE)
@without_waiting
async def test_what_a_live_connection_stands_on_raises(transport: Transport, seam: str, raised: str) -> None:
    """The connection is lost, what was pending ends, and another connection comes."""
    scene = Scene(transport)
    await scene.hub.start()
    pending = asyncio.create_task(scene.hub.invoke("Never"))
    await settle()
    scene.once.arm(seam, RAISED[raised])
    with suppress(ConnectionClosedError):  # the reader may be ahead of the wrong thing
        await scene.hub.invoke("Echo", 1, timeout=60)
    await scene.once.reached.wait()
    with pytest.raises(ConnectionClosedError):
        await pending
    await scene.works()
    await scene.stop()
    assert scene.closed == [None]


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize(("transport", "seam"), ATTEMPT)
@without_waiting
async def test_what_an_attempt_stands_on_raises(transport: Transport, seam: str, raised: str) -> None:
    """At a first start the error is raised, and it never says that stop() was called; at a reconnect others follow."""
    scene = Scene(transport)
    scene.once.arm(seam, RAISED[raised])
    with pytest.raises((SignalRError, ValueError)) as failed:
        await scene.hub.start()
    assert "stop()" not in str(failed.value)
    assert scene.hub.state is ConnectionState.DISCONNECTED
    await scene.hub.start()
    scene.once.arm(seam, RAISED[raised])
    scene.cut()
    await scene.once.reached.wait()
    await scene.works()
    await scene.stop()
    assert scene.closed == [None]


@pytest.mark.parametrize("raised", RAISED)
@without_waiting
async def test_a_policy_raises(raised: str) -> None:
    """It counts as giving up: the loss ends the connection, and `on_error` hears what was raised."""
    logging.disable(logging.ERROR)
    try:
        scene = Scene()
        await scene.hub.start()
        scene.once.arm("policy", RAISED[raised])
        scene.cut()
        with pytest.raises(ConnectionClosedError):
            await scene.hub.wait_closed()
        await settle()
    finally:
        logging.disable(logging.NOTSET)
    assert len(scene.errors) == len(scene.closed) == 1
    assert isinstance(scene.closed[0], ConnectionClosedError)
    await scene.stop()


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize("seam", ["handler", "lifecycle handler", "converter"])
@without_waiting
async def test_what_no_connection_stands_on_raises(seam: str, raised: str) -> None:
    """`on_error` hears of it, and the next event is handled."""
    logging.disable(logging.ERROR)
    try:
        scene = Scene(protocol="json", converter=_Failing(RAISED[raised]))
        handled: list[int] = []

        async def fail(*_args: Any) -> None:
            await scene.once.meddle(seam)

        scene.hub.on("tick", fail)
        scene.hub.on("next", handled.append)
        scene.hub.on_connected(fail)
        if seam == "converter":
            scene.hub.register(_Typed())
        else:
            scene.once.arm(seam, RAISED[raised])
        await scene.hub.start()
        assert scene.server.last is not None
        scene.server.last.say({"type": 1, "target": "typed" if seam == "converter" else "tick", "arguments": [1]})
        scene.server.last.say({"type": 1, "target": "next", "arguments": [1]})
        await settle()
        assert handled == [1]
        assert len(scene.errors) == 1
        await scene.works()
        await scene.stop()
    finally:
        logging.disable(logging.NOTSET)


class _Typed:
    def typed(self, value: Money) -> None:
        raise AssertionError("the value cannot be made")


class _Failing:
    def __init__(self, make: Callable[[], BaseException]) -> None:
        self._make = make

    def structure(self, _obj: Any, _cl: Any, /) -> Any:
        raise self._make()

    def unstructure(self, _obj: Any, /) -> Any:
        raise self._make()


@pytest.mark.parametrize("raised", RAISED)
@without_waiting
async def test_a_client_result_handler_raises(raised: str) -> None:
    scene = Scene()

    async def fail(*_args: Any) -> None:
        await scene.once.meddle("handler")

    scene.hub.on("ask", fail)
    await scene.hub.start()
    scene.once.arm("handler", RAISED[raised])
    peer = scene.server.last
    assert peer is not None
    peer.say({"type": 1, "target": "ask", "arguments": [1], "invocationId": "q"})
    await settle()
    assert [answer["invocationId"] for answer in peer.results] == ["q"]
    assert peer.results[0]["error"]
    await scene.works()
    await scene.stop()


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize("seam", ["source next", "source iter"])
@without_waiting
async def test_the_source_of_an_upload_raises(seam: str, raised: str) -> None:
    """Its stream ends with an error, the call with its answer, and the source is closed."""
    scene = Scene()
    await scene.hub.start()
    sources: list[Source] = []
    scene.once.arm(seam, RAISED[raised])
    assert await scene.hub.invoke("Echo", Source(scene.once, sources.append), timeout=60) == 7
    peer = scene.server.last
    assert peer is not None
    assert peer.results[0]["error"]
    assert sources[0].closed
    await scene.works()
    await scene.stop()


@pytest.mark.parametrize("raised", RAISED)
@without_waiting
async def test_a_ping_that_cannot_be_encoded_is_a_loss(raised: str) -> None:
    """Keep-alive and server timeout go on: over another connection."""
    scene = Scene()
    await scene.hub.start()
    await asyncio.sleep(1)
    scene.once.arm("protocol encode", RAISED[raised])
    await asyncio.sleep(16)
    assert scene.once.reached.is_set()
    await scene.works()
    await scene.stop()


@pytest.mark.parametrize("raised", RAISED)
@without_waiting
async def test_a_call_that_is_cancelled_ends_with_its_own_cancellation(raised: str) -> None:
    """The hub protocol fails as it encodes the CancelInvocation; `on_error` hears of that."""
    logging.disable(logging.ERROR)
    try:
        scene = Scene()
        await scene.hub.start()
        call = asyncio.create_task(scene.hub.invoke("Never"))
        await settle()
        scene.once.arm("protocol encode", RAISED[raised])
        call.cancel()
        await asyncio.wait({call})
        assert call.cancelled()
        await settle()
        await scene.stop()
    finally:
        logging.disable(logging.NOTSET)


@without_waiting
async def test_a_log_handler_that_raises_loses_its_record_only() -> None:
    class Failing(logging.Handler):
        def emit(self, _record: logging.LogRecord) -> None:
            raise Outcome("failed")

    logger, handler = logging.getLogger("signalr_sdk"), Failing()
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        scene = Scene()
        await scene.hub.start()
        scene.cut()
        await settle()
        await scene.works()
        await scene.stop()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert scene.closed == [None]


def test_a_record_says_where_it_was_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "signalr_sdk")

    async def use() -> None:
        scene = Scene()
        await scene.hub.start()
        await scene.stop()

    _run(use)
    (record,) = [record for record in caplog.records if record.message.startswith("connected to")]
    assert record.filename == "supervisor.py"


# The end of the program


def _run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(main())


def _on_thread(work: Callable[[], None]) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised on the first thread
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


PLACES = [*LIVE, *ATTEMPT, (Transport.WEBSOCKETS, "policy"), (Transport.WEBSOCKETS, "protocol encode")]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("transport", "seam"), PLACES)
def test_the_end_of_the_program_passes_through(transport: Transport, seam: str, ending: str) -> None:
    """On the main thread: the connection is put in order, and the exception leaves the event loop."""
    scenes: list[Scene] = []

    async def use() -> None:
        scene = Scene(transport)
        scenes.append(scene)
        await scene.hub.start()
        scene.once.arm(seam, ENDINGS[ending])
        if (transport, seam) not in LIVE:
            scene.cut()
        await asyncio.sleep(60)

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        _run(use)
    (scene,) = scenes
    assert scene.hub.state is ConnectionState.DISCONNECTED
    assert len(scene.closed) == 1
    assert transport is Transport.LONG_POLLING or not any(peer.open for peer in scene.server.peers if peer.up)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("transport", "seam"), PLACES)
def test_on_another_thread_they_are_errors_like_any_other(transport: Transport, seam: str, ending: str) -> None:
    async def use() -> None:
        scene = Scene(transport)
        await scene.hub.start()
        scene.once.arm(seam, ENDINGS[ending])
        if (transport, seam) not in LIVE:
            scene.cut()
        await asyncio.sleep(60)
        assert scene.once.reached.is_set()
        if seam == "policy":
            assert len(scene.closed) == 1
        else:
            await scene.works()
        await scene.stop()

    logging.disable(logging.ERROR)
    try:
        _on_thread(lambda: _run(use))
    finally:
        logging.disable(logging.NOTSET)


# Code that does not end


@pytest.mark.parametrize("stuck", [False, True])
@without_waiting
async def test_a_handler_that_begins_in_the_turn_of_stop_ends_with_it(stuck: bool) -> None:
    scene = Scene()
    told: list[str] = []

    async def wait_for_ever() -> None:
        told.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            told.append("ended")

    scene.hub.on("Tick", wait_for_ever)
    await scene.hub.start()
    await settle()
    if stuck:
        scene.once.arm("socket close", stubborn=True)
    assert scene.server.last is not None
    scene.server.last.say({"type": 1, "target": "Tick", "arguments": []})
    await scene.stop()
    await settle()
    assert told == ["begun", "ended"]
    scene.once.released.set()
    await asyncio.sleep(1)


@pytest.mark.parametrize("stubborn", [False, True])
@pytest.mark.parametrize(("transport", "seam"), ATTEMPT)
@without_waiting
async def test_an_attempt_hangs(
    transport: Transport, seam: str, stubborn: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Reconnecting goes on; if cancellation is swallowed, one WARNING names the function."""
    scene = Scene(transport)
    await scene.hub.start()
    scene.once.arm(seam, stubborn=stubborn)
    scene.cut()
    await scene.once.reached.wait()
    await scene.hub.wait_connected(400)
    assert len(warnings_of(caplog)) == stubborn
    assert all("Once.meddle" in text or "Chance" in text or ".py" in text for text in warnings_of(caplog))
    await scene.works()
    await scene.stop()
    scene.once.released.set()
    await asyncio.sleep(1)
    for peer in scene.server.peers:
        peer.end()


@pytest.mark.parametrize("how", ["stop", "cancelled start"])
@pytest.mark.parametrize(("transport", "seam"), ATTEMPT)
@without_waiting
async def test_an_attempt_will_not_be_cancelled(
    transport: Transport, seam: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`stop()` and a cancelled `start()` end in time, and what the code returns later is undone."""
    scene = Scene(transport)
    scene.once.arm(seam, stubborn=True)
    start = asyncio.create_task(scene.hub.start())
    await scene.once.reached.wait()
    if how == "stop":
        await scene.stop()
        await asyncio.wait({start})
        assert isinstance(start.exception(), ConnectionClosedError)
    else:
        began = asyncio.get_running_loop().time()
        start.cancel()
        await asyncio.wait({start})
        assert asyncio.get_running_loop().time() - began <= CLOSE + 0.5
    assert scene.hub.state is ConnectionState.DISCONNECTED
    (warning,) = warnings_of(caplog)
    assert seam != "provider" or ("the access token provider" in warning and "Once.meddle" in warning)
    requests = len(scene.server.peers)
    scene.once.released.set()
    await asyncio.sleep(30)
    assert len(scene.server.peers) <= requests + 1
    if transport is not Transport.LONG_POLLING:
        assert not any(peer.open for peer in scene.server.peers if peer.up)
    assert scene.hub.state is ConnectionState.DISCONNECTED
    for peer in scene.server.peers:
        peer.end()


@pytest.mark.parametrize("stubborn", [False, True])
@pytest.mark.parametrize(
    ("transport", "seam"),
    [
        (Transport.WEBSOCKETS, "socket receive"),
        (Transport.WEBSOCKETS, "socket send"),
        (Transport.WEBSOCKETS, "socket close"),
        (Transport.WEBSOCKETS, "socket flush"),
        (Transport.SERVER_SENT_EVENTS, "stream read"),
        (Transport.SERVER_SENT_EVENTS, "stream close"),
        (Transport.LONG_POLLING, "http request"),
    ],
)
@without_waiting
async def test_a_live_connection_hangs_and_is_stopped(
    transport: Transport, seam: str, stubborn: bool, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(transport)
    await scene.hub.start()
    scene.once.arm(seam, stubborn=stubborn)
    for _ in range(2):
        await scene.hub.send("Log", 1)
        await settle()
    await scene.stop()
    assert len(warnings_of(caplog)) <= 1
    assert scene.closed == [None]
    scene.once.released.set()
    await asyncio.sleep(30)
    assert scene.hub.state is ConnectionState.DISCONNECTED


@without_waiting
async def test_a_web_socket_that_swallows_the_loss_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """The server timeout ends the connection, though the WebSocket's `receive` will not be cancelled."""
    scene = Scene()
    await scene.hub.start()
    first = scene.server.last
    scene.once.arm("socket receive", stubborn=True)
    await asyncio.sleep(16)  # the next ping of the server is read
    assert scene.once.reached.is_set()
    await asyncio.sleep(60)
    await scene.works()
    assert len(warnings_of(caplog)) == 1
    assert "Once.meddle" in warnings_of(caplog)[0]
    assert scene.server.last is not first
    scene.once.released.set()
    await asyncio.sleep(30)
    await scene.works()
    await scene.stop()


@without_waiting
async def test_a_log_handler_that_stops_when_code_is_left_behind() -> None:
    """`stop()` begins before the first step of the task that is to reconnect."""
    scene = Scene()
    await scene.hub.start()
    stops: list[asyncio.Task[None]] = []

    class Stopping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "left behind" in record.getMessage():
                stops.append(asyncio.create_task(scene.hub.stop()))

    logger, handler = logging.getLogger("signalr_sdk"), Stopping()
    logger.addHandler(handler)
    try:
        scene.once.arm("socket receive", stubborn=True)
        await asyncio.sleep(76)
    finally:
        logger.removeHandler(handler)
    (stopped,) = stops
    await stopped
    assert scene.closed == [None]
    scene.once.released.set()
    await asyncio.sleep(30)
    await scene.stop()


@without_waiting
async def test_a_program_that_cancels_the_end_of_a_cancelled_stop() -> None:
    """The task that replaces the cancelled one is cancelled before its first step."""
    scene = Scene()
    running = asyncio.Event()

    async def slow() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)

    def cancel(kind: str) -> asyncio.Task[Any]:
        (task,) = (each for each in asyncio.all_tasks() if each.get_name() == f"signalr_sdk {kind}")
        task.cancel()
        return task

    scene.hub.on("slow", slow)
    await scene.hub.start()
    assert scene.server.last is not None
    scene.server.last.say({"type": 1, "target": "slow", "arguments": []})
    await running.wait()
    stop = asyncio.create_task(scene.hub.stop())
    await asyncio.sleep(0.5)
    cancel("stop").add_done_callback(lambda _stop: cancel("connection"))
    await asyncio.wait_for(stop, 10)
    assert scene.hub.state is ConnectionState.DISCONNECTED
    await asyncio.sleep(2)  # the handler ends
    assert scene.closed == [None]
    await scene.hub.start()
    await scene.works()
    await scene.stop()


@without_waiting
async def test_a_provider_that_hangs_has_the_time_of_a_request() -> None:
    scene = Scene()
    scene.once.arm("provider")
    began = asyncio.get_running_loop().time()
    with pytest.raises(ConnectionFailedError, match=r"did not answer within 20 s \(Timeouts.request"):
        await scene.hub.start()
    assert asyncio.get_running_loop().time() - began == pytest.approx(20.0, abs=0.1)


@without_waiting
async def test_a_source_that_hangs_as_it_is_closed_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    await scene.hub.start()
    sources: list[Source] = []
    scene.once.arm("source close", stubborn=True)
    call = asyncio.create_task(scene.hub.invoke("Echo", Source(scene.once, sources.append), timeout=5))
    await scene.once.reached.wait()
    await scene.works()
    await scene.stop()
    assert len(warnings_of(caplog)) == 1
    with pytest.raises(SignalRError):
        await call
    scene.once.released.set()
    await settle()


# Cancelled by the program


def _ours() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("signalr_sdk")]


@pytest.mark.parametrize("transport", list(Transport))
@without_waiting
async def test_the_program_cancels_all_tasks(transport: Transport) -> None:
    """The connection ends with `on_closed`, and so does all that waits."""
    scene = Scene(transport)
    await scene.hub.start()
    waiting = [
        asyncio.ensure_future(work)
        for work in (scene.hub.invoke("Never"), scene.hub.wait_closed(), scene.hub.wait_for("tick"))
    ]
    await settle()
    for task in _ours():
        task.cancel()
    await asyncio.wait(waiting)
    await settle()
    assert scene.hub.state is ConnectionState.DISCONNECTED
    assert all(isinstance(task.exception(), ConnectionClosedError) for task in waiting)
    assert [type(error) for error in scene.closed] == [ConnectionClosedError]
    await scene.stop()
    await scene.hub.start()
    await scene.works()
    await scene.stop()


async def _task_of(name: str, turns: int) -> list[asyncio.Task[Any]]:
    """Return the tasks of this name, so many turns after the first has come; maybe none comes."""
    for _ in range(100):
        found = [task for task in _ours() if task.get_name().startswith(f"signalr_sdk {name}")]
        if found:
            await settle(turns)
            return found
        await asyncio.sleep(0)
    return []


@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize("name", ["the access token", "connection"])
@without_waiting
async def test_the_program_cancels_what_start_waits_for(name: str, turns: int) -> None:
    scene = Scene()
    start = asyncio.create_task(scene.hub.start())
    for task in await _task_of(name, turns):
        task.cancel()
    await asyncio.wait({start})
    assert start.exception() is None or isinstance(start.exception(), SignalRError)
    await settle()
    if scene.hub.state is ConnectionState.DISCONNECTED:
        await scene.hub.start()
    await scene.works()
    await scene.stop()


@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize("name", ["writer", "upload"])
@without_waiting
async def test_the_program_cancels_what_a_call_waits_for(name: str, turns: int) -> None:
    """Also before its first step: the call ends, and so does `flush`."""
    scene = Scene()
    await scene.hub.start()
    sources: list[Source] = []
    call = asyncio.create_task(scene.hub.invoke("Echo", Source(scene.once, sources.append), timeout=60))
    for task in await _task_of(name, turns):
        task.cancel()
    await asyncio.wait({call})
    assert call.exception() is None or isinstance(call.exception(), SignalRError)
    await scene.works()
    await scene.hub.flush()
    assert all(source.closed for source in sources)
    await scene.stop()


@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize("name", ["events", "client result"])
@without_waiting
async def test_the_program_cancels_what_handles_events(name: str, turns: int) -> None:
    """Also before its first step: the other events are handled, and the hub's question is answered."""
    scene = Scene()
    handled: list[int] = []
    scene.hub.on("tick", handled.append)
    scene.hub.on("ask", lambda _n: 1)
    await scene.hub.start()
    peer = scene.server.last
    assert peer is not None
    peer.say({"type": 1, "target": "tick", "arguments": [1]})
    peer.say({"type": 1, "target": "ask", "arguments": [1], "invocationId": "q"})
    for task in await _task_of(name, turns):
        task.cancel()
    await settle()
    assert handled == [1]
    assert [answer["invocationId"] for answer in peer.results] == ["q"]
    await scene.works()
    await scene.stop()


@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize("also", [(), ("connection",), ("the closing",)])
@without_waiting
async def test_the_program_cancels_stop(also: tuple[str, ...], turns: int) -> None:
    """And what does the same work: the connection is DISCONNECTED, `on_closed` is told, and no transport is open."""
    scene = Scene()
    await scene.hub.start()
    stop = asyncio.create_task(scene.hub.stop())
    for name in ("stop", *also):
        for task in await _task_of(name, turns):
            task.cancel()
    await asyncio.wait({stop})
    await settle()
    assert scene.hub.state is ConnectionState.DISCONNECTED
    assert scene.closed == [None]
    assert not any(peer.open for peer in scene.server.peers)
    await scene.hub.start()
    await scene.works()
    await scene.stop()


# Other event loops and threads


def _all_waits(hub: HubConnection) -> list[Callable[[], Awaitable[Any]]]:
    return [
        hub.start,
        hub.stop,
        hub.flush,
        hub.run,
        hub.wait_closed,
        hub.wait_connected,
        hub.reconnect,
        hub.refresh_authentication,
        lambda: hub.invoke("Echo", 1),
        lambda: hub.invoke("Echo", 1, timeout=1),
        lambda: hub.send("Log", 1),
        lambda: hub.wait_for("tick"),
        lambda: hub.stream("Count").next(),
        lambda: hub.stream("Count").__anext__(),
        lambda: hub.stream("Count").__aenter__(),
        lambda: hub.messages("tick").next(),
        lambda: hub.messages("tick").__anext__(),
        lambda: hub.messages("tick").__aenter__(),
        lambda: hub.events("tick", "tock").next(),
        lambda: hub.events().__anext__(),
        hub.__aenter__,
    ]


@without_waiting
async def test_another_event_loop_is_told_to_hand_its_calls_over() -> None:
    """Nothing is sent by then."""
    scene = Scene()
    await scene.hub.start()
    entered = await scene.hub.stream("Count").__aenter__()
    await settle()
    sent = len(scene.server.peers[0].received)
    waits = [
        *_all_waits(scene.hub),
        entered.next,
        entered.cancel,
        entered.__aenter__,
        entered.__aexit__,
    ]
    raised: list[BaseException] = []

    async def use() -> None:
        for wait in waits:
            with pytest.raises(StateError, match=r"run_coroutine_threadsafe.*signalr_sdk\.sync") as error:
                await wait()
            raised.append(error.value)

    _on_thread(lambda: asyncio.run(use()))
    assert len(raised) == len(waits)
    await settle()
    assert [message for message in scene.server.peers[0].received[sent:] if message["type"] != 6] == []
    await scene.works()
    await scene.stop()


@without_waiting
async def test_what_works_anywhere() -> None:
    scene = Scene()
    await scene.hub.start()
    handled: list[int] = []

    def use() -> None:
        scene.hub.on("tick", handled.append)
        scene.hub.off("tick")
        scene.hub.on("tick", handled.append)
        assert scene.hub.state is ConnectionState.CONNECTED
        assert scene.hub.connection_id
        assert scene.hub.transport is Transport.WEBSOCKETS
        scene.hub.messages("tick").close()
        scene.hub.events("tick", "tock").close()
        scene.hub.events().close()

    _on_thread(use)
    assert scene.server.last is not None
    scene.server.last.say({"type": 1, "target": "tick", "arguments": [1]})
    await settle()
    assert handled == [1]
    await scene.stop()


def test_a_closed_loop_ends_its_connection() -> None:
    """`loop.close()` without the end of `asyncio.run`: the next start works on the new loop."""
    loop = LeapingLoop()
    scenes: list[Scene] = []

    async def begin() -> None:
        scenes.append(Scene())
        await scenes[0].hub.start()

    async def again() -> None:
        (scene,) = scenes
        assert scene.hub.state is ConnectionState.DISCONNECTED
        assert scene.hub.connection_id is None
        assert scene.hub.transport is None
        await scene.hub.stop()
        await scene.hub.start()
        await scene.works()
        await scene.stop()

    loop.run_until_complete(begin())
    for task in asyncio.all_tasks(loop):
        task.set_name("forgotten")
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    for peer in scenes[0].server.peers:
        peer.end()
    loop.close()
    assert scenes[0].hub.state is ConnectionState.DISCONNECTED
    gc.collect()
    _run(again)


def test_a_second_run_says_that_the_end_of_the_first_ended_the_connection() -> None:
    """`asyncio.run(hub.start())` and then `asyncio.run(hub.invoke())`, which many write first."""
    scenes: list[Scene] = []

    async def start() -> None:
        scenes.append(Scene())
        await scenes[0].hub.start()

    async def invoke() -> None:
        with pytest.raises(SignalRError, match=r"event loop of start\(\) has ended"):
            await scenes[0].hub.invoke("Echo", 1)

    _run(start)
    assert len(scenes[0].closed) == 1
    assert scenes[0].hub.state is ConnectionState.DISCONNECTED
    _run(invoke)


@pytest.mark.parametrize("how", ["stop while reconnecting", "stop while starting", "cancelled start"])
@without_waiting
async def test_an_end_that_was_asked_for_is_not_blamed_on_the_event_loop(how: str) -> None:
    scene = Scene()
    if how == "stop while reconnecting":
        await scene.hub.start()
        scene.once.arm("connector")
        scene.cut()
        await scene.once.reached.wait()
        await scene.stop()
    else:
        scene.once.arm("connector")
        starting = asyncio.create_task(scene.hub.start())
        await scene.once.reached.wait()
        if how == "cancelled start":
            starting.cancel()
        await scene.stop()
        with suppress(asyncio.CancelledError, ConnectionClosedError):
            await starting
    with pytest.raises(NotConnectedError, match=r"start\(\) it first$"):
        await scene.hub.invoke("Echo", 1)


def test_without_asyncio_the_error_names_what_to_use() -> None:
    """A coroutine driven by hand, as trio and curio do."""
    hub = HubConnection("http://hub.test/chat")
    for wait in (hub.start, hub.run, hub.__aenter__):
        with pytest.raises(StateError, match=r"signalr_sdk\.sync.*trio"):
            wait().send(None)


# What stays behind


@pytest.mark.parametrize("how", ["stop", "loss", "end", "program"])
@pytest.mark.parametrize("transport", list(Transport))
@without_waiting
async def test_link_and_session_go_with_their_connection(transport: Transport, how: str) -> None:
    # The policy of the scene never gives up, and a Close without an error is to be the end.
    scene = Scene(transport, **({"reconnect": True} if how == "end" else {}))
    await scene.hub.start()
    await scene.works()
    link = scene.hub._life.link
    assert link is not None
    gone = [weakref.ref(each) for each in (link, link._session, link.calls, link.outgoing, link.connection)]
    del link
    if how == "stop":
        await scene.hub.stop()
    elif how == "loss":
        scene.cut()
        await settle()
        await scene.works()
    elif how == "end":
        assert scene.server.last is not None
        scene.server.last.say({"type": 7})
        await scene.hub.wait_closed()
    else:
        for task in _ours():
            task.cancel()
    await asyncio.sleep(3)
    gc.collect()
    assert [ref() for ref in gone] == [None] * len(gone)
    await scene.stop()


@without_waiting
async def test_a_connection_goes_with_its_last_reference() -> None:
    scene = Scene()
    await scene.hub.start()
    await scene.works()
    await scene.stop()
    hub, client = weakref.ref(scene.hub), weakref.ref(scene.server)
    del scene
    await settle()
    gc.collect()
    assert (hub(), client()) == (None, None)


@without_waiting
async def test_uploads_end_with_a_stop_during_the_closing_of_a_lost_link() -> None:
    scene = Scene()
    await scene.hub.start()
    closed: list[bool] = []

    async def source() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    call = asyncio.create_task(scene.hub.invoke("Never", source()))
    await settle()
    scene.once.arm("socket close", stubborn=True)
    scene.cut()
    await scene.once.reached.wait()
    await scene.stop()
    assert closed == [True]
    assert not [task for task in _ours() if "upload" in task.get_name()]
    with pytest.raises(ConnectionClosedError):
        await call
    scene.once.released.set()
    await asyncio.sleep(1)


@without_waiting
async def test_a_refresh_that_fails_behind_one_of_the_users_leaves_one_timer() -> None:
    logging.disable(logging.ERROR)
    try:
        scene = Scene()
        scene.server.lifetime = 40.0
        await scene.hub.start()
        scene.once.arm("http request")
        by_hand = asyncio.create_task(scene.hub.refresh_authentication())
        await scene.once.reached.wait()
        await asyncio.sleep(20.5)  # the timer's own refresh waits for the first one
        scene.once.released.set()
        with suppress(SignalRError):
            await by_hand
        scene.once.arm("http request", RAISED["Exception"])
        await settle()
        await scene.stop()
        await settle()
        assert timers(asyncio.get_running_loop()) == []
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("raised", RAISED)
@without_waiting
async def test_a_refresh_of_the_token_raises(raised: str) -> None:
    """By hand the caller hears of it, by the timer `on_error`; the connection stays."""
    logging.disable(logging.ERROR)
    try:
        scene = Scene()
        scene.server.lifetime = 40.0
        await scene.hub.start()
        for seam in ("provider", "http request"):
            scene.once.arm(seam, RAISED[raised])
            with pytest.raises(AuthenticationRefreshError):
                await scene.hub.refresh_authentication()
            scene.once.arm(seam, RAISED[raised])
            await asyncio.sleep(60)
            assert isinstance(scene.errors.pop(), AuthenticationRefreshError)
        await scene.works()
        assert len(scene.server.peers) == 1
        await scene.stop()
    finally:
        logging.disable(logging.NOTSET)
