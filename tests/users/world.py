"""One round: a connection of either facade, its users, its server, and what must hold at the end."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, Literal

import attrs
from tests.doubles import LeapingLoop, timers

from signalr_sdk import (
    ConnectionState,
    HubConnection,
    Retry,
    SignalRError,
    Timeouts,
    TokenRequest,
    Transport,
    Upload,
)
from signalr_sdk._core.lifecycle import Event, State
from signalr_sdk._guard.tasks import where

from .failures import Failures
from .seams import SEAMS, Converter, Money, Policy, Protocol, Server, Source
from .set_ups import SetUps
from .wrongs import Chance, close_unawaited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

# Of the connection; the clock of the round leaps, so no second is waited for.
TIMEOUTS = Timeouts(close=2.0, request=20.0, ready=5.0, setup=20.0)
CLOSE = 2.5  # the longest that stop() may take
LONGEST = 100_000.0  # of the whole round
HEALED = 600.0  # seconds after which a connection without faults must be up, or ended


class BrokenError(Exception):
    """Something that must hold does not hold."""


class _LogHandler(logging.Handler):
    """Goes wrong, and looks for signs of a bug."""

    def __init__(self, chance: Chance, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(logging.DEBUG)
        self.bugs: list[str] = []
        self._chance = chance
        self._loop = loop
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "the connection failed" and record.exc_info:
            self.bugs.append(logging.Formatter().format(record))
        if threading.get_ident() == self._thread and asyncio._get_running_loop() is self._loop:
            self._chance.meddle_now("log handler", ends=False)  # logging passes those on


def _is_new_closing(task: asyncio.Task[Any]) -> bool:
    """Return whether a task that only closes something has not begun: nobody could close that instead."""
    new = inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_CREATED  # type: ignore[arg-type]
    return new and any(word in task.get_name() for word in ("clos", "source", "HTTP client"))


class World:
    """A connection of asyncio, its users and its server."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = Chance(seed, SEAMS)
        self.random = chance.random
        self.server = Server(chance)
        self.transport = self.random.choice(list(Transport))
        self.converter = Converter(chance)
        self.server.lifetime = self.random.choice([None, 40])
        self.requests: list[Any] = []
        self.set_ups = SetUps(chance, active=self.random.random() < 0.5)
        self.server.called = self.set_ups.called
        self.hub = self._hub()
        self.calls: list[asyncio.Task[Any]] = []
        self.limited: list[asyncio.Task[Any]] = []
        self.sources: list[Source] = []
        self.probes = 0
        self.ticks = 0
        self.ticked = 0
        self.misled: list[str] = []
        self.ups: list[object] = []
        self.ends: list[object] = []
        self.ended = 0
        self._count_ends()
        self.set_ups.register(self.hub)
        self._register()
        chance.callbacks = [
            self.hub.start,
            self.hub.stop,
            self.hub.flush,
            self.hub.wait_closed,
            self.hub.reconnect,
            lambda: self.hub.invoke("Echo", self.set_ups.whose()),
            lambda: self.hub.invoke("Never", self.set_ups.whose(), timeout=3),
            lambda: self.hub.send("Log", self.set_ups.whose()),
            lambda: self.hub.wait_connected(3),
            lambda: self.hub.off("tick"),
            self._register,
        ]

    def _hub(self) -> HubConnection:
        chance, choose = self.chance, self.random.choice
        self.handler_errors: Literal["report", "raise"] = choose(["report", "report", "raise"])
        options: dict[str, Any] = {
            "http": self.server,
            "transports": self.transport,
            "timeouts": attrs.evolve(TIMEOUTS, idle=choose([None, None, 40.0])),
            "handler_errors": self.handler_errors,
            "reconnect": choose([Policy(chance), Retry.forever(), True, False]),
            "retry_start": choose([False, True, Policy(chance)]),
            "access_token": choose([None, self.provide, self.provide_now, self.provide_for, self.provide_now_for]),
            "protocol": choose(["json", Protocol(chance)]),
            "converter": choose([None, self.converter]),
            "stateful_reconnect": choose([False, True]),
        }
        hub = HubConnection("http://hub.test/chat", **options)
        hub._values.converter  # noqa: B018 otherwise on a thread at the first use, which takes real time
        self.failures = Failures(hub, raises=self.handler_errors == "raise")
        return hub

    def _count_ends(self) -> None:
        """Count how often a connection that was up has ended for good."""
        life = self.hub._life
        fire = life.lifecycle.fire

        def counted(event: Event) -> State:
            state = fire(event)
            if state is State.DISCONNECTED and life._attempts.was_connected:
                self.ended += 1
            self.failures.fired(event, state)
            return state

        life.lifecycle.fire = counted  # type: ignore[method-assign]

    def _register(self) -> None:
        hub = self.hub
        hub.on("tick", self._note_tick)
        hub.on("tick", self.handle)
        hub.on("tock", self.handle_now)
        hub.on("probe", self._probed)
        hub.on_any(self.handle_now)
        hub.on("ask", self.answer)
        hub.on_connected(self.ups.append)
        hub.on_error(self.failures.reported)
        hub.on_closed(self.ends.append)
        hub.on_closed(self.failures.closed)
        hub.on_connected(self.lifecycle)
        hub.on_reconnecting(self.lifecycle)
        hub.on_reconnected(self.lifecycle)
        hub.on_closed(self.closing)
        hub.on_error(self.error)

    def _probed(self) -> None:
        self.probes += 1

    def _note_tick(self, number: int) -> None:
        if number <= self.ticked:
            self.misled.append(f"tick {number} came after tick {self.ticked}")
        self.ticked = number

    # The user's functions

    async def provide(self) -> Any:
        wrong = await self.chance.meddle("provider")
        return wrong if isinstance(wrong, str) else "token" if wrong.__class__ is object else wrong

    def provide_now(self) -> Any:
        wrong = self.chance.meddle_now("provider")
        return "token" if wrong.__class__ is object else wrong

    async def provide_for(self, request: Any) -> Any:
        self.requests.append(request)
        return await self.provide()

    def provide_now_for(self, request: Any) -> Any:
        self.requests.append(request)
        return self.provide_now()

    async def handle(self, *_args: Any) -> None:
        await self._handled(self.chance.meddle("handler"))

    async def _handled(self, work: Awaitable[Any]) -> None:
        life = self.failures.called()
        try:
            await work
        except BaseException as error:
            self.failures.failed(life, error)
            raise

    def handle_now(self, *_args: Any) -> Any:
        life = self.failures.called()
        try:
            return self.chance.meddle_now("handler")
        except BaseException as error:
            self.failures.failed(life, error)
            raise

    async def answer(self, *_args: Any) -> Any:
        self.set_ups.answering()
        wrong = await self.chance.meddle("client result")
        return 1 if wrong.__class__ is object else wrong

    async def lifecycle(self, _value: Any) -> None:
        await self._handled(self.chance.meddle("lifecycle handler"))

    async def closing(self, _value: Any) -> None:
        await self.chance.meddle("lifecycle handler")

    async def error(self, _error: Exception) -> None:
        await self.chance.meddle("error handler")

    # What happens

    def begin(self, call: Awaitable[Any], *, ends: bool = True) -> None:
        """Make a call of the user's. `ends` is false for iterators: those without a connection wait for a start."""

        async def run() -> None:
            try:
                await call
            except BaseException as error:  # whatever it raises, it has ended
                if isinstance(error, KeyboardInterrupt | SystemExit) and not self.chance._ends:
                    raise

        task = asyncio.create_task(run(), name="user")
        # A task that is cancelled before its first step awaits nothing.
        task.add_done_callback(lambda _task: close_unawaited(call))
        self.calls.append(task)
        if ends:
            self.limited.append(task)

    def source(self) -> Any:
        source = Source(self.chance, self.sources.append)
        return self.random.choice([source, Upload(source)])

    async def upload(self, timeout: float | None) -> None:
        await self.hub.invoke("Echo", self.set_ups.whose(), self.source(), self.source(), timeout=timeout)

    async def send_upload(self) -> None:
        await self.hub.send("Log", self.set_ups.whose(), self.source())

    async def iterate(self) -> None:
        async for _ in self.hub.stream("Count", self.set_ups.whose(), item_type=self.random.choice([Any, int])):
            await asyncio.sleep(0)

    async def listen(self) -> None:
        async for _ in self.hub.messages("tick"):
            await asyncio.sleep(0)

    async def listen_to_several(self) -> None:
        names = self.random.choice([(), ("tick", "tock"), ("other", "ask")])
        overflow: Literal["wait", "drop_oldest"] = self.random.choice(["wait", "drop_oldest"])
        async with self.hub.events(*names, buffer=self.random.choice([None, 1]), overflow=overflow) as events:
            async for name, _arguments in events:
                if name == "ask" or (names and name not in names):
                    self.misled.append(f"events{names} got '{name}'")
                await asyncio.sleep(0)

    def step(self) -> None:
        """Let something happen."""
        hub, choose = self.hub, self.random.choice
        timeout = choose([None, 1.0, 0.0])
        actions: list[Callable[[], object]] = [
            *([lambda: self.begin(hub.start())] * 3),
            lambda: self.begin(hub.stop()),
            *([lambda: self.begin(hub.reconnect())] * 2),
            lambda: self.begin(hub.invoke(choose(["Echo", "Never"]), self.set_ups.whose(), timeout=timeout)),
            lambda: self.begin(hub.invoke("Echo", self.set_ups.whose(), Money(), result_type=int, timeout=timeout)),
            lambda: self.begin(self.upload(timeout)),
            lambda: self.begin(self.send_upload()),
            lambda: self.begin(hub.send("Log", self.set_ups.whose(), Money())),
            lambda: self.begin(hub.flush()),
            lambda: self.begin(hub.refresh_authentication()),
            lambda: self.begin(hub.wait_connected(timeout)),
            lambda: self.begin(hub.wait_for("tick", 1.0)),
            lambda: self.begin(self.iterate()),
            lambda: self.begin(self.listen(), ends=False),
            lambda: self.begin(self.listen_to_several(), ends=False),
            lambda: self.calls and choose(self.calls).cancel(),
            self.cancel_ours,
            *([self.serve] * 4),
        ]
        choose(actions)()

    def cancel_ours(self) -> None:
        """Cancel tasks of the package, as a program does that cancels all tasks."""
        if "program" not in self.chance.seams:
            return
        ours = [task for task in asyncio.all_tasks() if task.get_name().startswith("signalr_sdk")]
        ours = [task for task in ours if not _is_new_closing(task)]
        ours.sort(key=lambda task: (task.get_name(), repr(task.get_coro()).rpartition(" at ")[0]))
        if ours:
            chosen = ours if self.random.random() < 0.2 else [self.random.choice(ours)]
            for task in chosen:
                self.chance.note(f"program: cancels {task.get_name()}")
                task.cancel()

    def serve(self) -> None:
        """Let the server do something."""
        peer = self.server.last
        if peer is None:
            return
        what = self.random.choice(["tick", "tock", "other", "ask", "ask", "cut", "close", "end", "garbage", "refuse"])
        self.chance.note(f"server: {what}")
        match what:
            case "cut":
                peer.vanish()
            case "close":
                peer.say({"type": 7, "error": "bye", "allowReconnect": self.random.random() < 0.8})
                peer.end()
            case "end":
                peer.end()
            case "refuse":
                self.server.refuses_next = True
            case "garbage":
                peer.say(b"garbage\x1e")
            case "ask":
                peer.say({"type": 1, "target": what, "arguments": [1], "invocationId": "q"})
            case _:
                self.ticks += 1
                peer.say({"type": 1, "target": what, "arguments": [self.ticks]})

    async def live(self) -> None:
        """Let things happen at random times."""
        self.begin(self.hub.start())
        for _ in range(self.random.randint(5, 80)):
            self.step()
            for _ in range(self.random.choice([0, 1, 2, 5, 12])):
                await asyncio.sleep(0)
            if self.random.random() < 0.3:
                await asyncio.sleep(self.random.choice([0.01, 0.7, 3.0, 20.0]))

    # What must hold

    async def heal(self) -> None:
        """With nothing going wrong any more the connection must be up and work, or have ended."""
        self.chance.quiet()
        self.chance.release()
        hub, loop = self.hub, asyncio.get_running_loop()
        until = loop.time() + HEALED
        while loop.time() < until:
            await asyncio.sleep(1)
            if hub.state is ConnectionState.DISCONNECTED:
                await asyncio.sleep(3)
                if hub.state is ConnectionState.DISCONNECTED:
                    return
                continue
            if hub.state is not ConnectionState.CONNECTED:
                continue
            seen = self.probes
            try:
                async with asyncio.timeout(60):
                    if await hub.invoke("Echo", "others") != 7:
                        raise BrokenError("a call got a wrong answer")
            except (SignalRError, OSError, ValueError):
                continue  # what went wrong before is noticed now: another connection comes, or the end
            for peer in self.server.peers:  # also a server that was not told of the end of long polling
                peer.say({"type": 1, "target": "probe", "arguments": []})
            await asyncio.sleep(1)
            if self.probes > seen:
                if self.failures.error is not None:
                    raise BrokenError("the connection goes on after a handler has failed")
                return
        raise BrokenError(
            f"the connection is {hub.state} and does not work after {HEALED:g} s without a fault: {_waiting()}"
        )

    async def stop(self) -> None:
        """Stop, and measure the time."""
        loop = asyncio.get_running_loop()
        for _ in range(4):  # somebody who waited may start it again
            began = loop.time()
            self.chance.note("stop()")
            await self.hub.stop()
            took = loop.time() - began
            if took > CLOSE:
                raise BrokenError(f"stop() took {took:.2f} s")
            if self.hub.state is ConnectionState.DISCONNECTED:
                await asyncio.sleep(0.1)
            if self.hub.state is ConnectionState.DISCONNECTED:
                return
        raise BrokenError(f"after stop() the connection is {self.hub.state}")

    async def end(self) -> None:
        """Stop, in the middle of what goes wrong or after it, and look at what is left."""
        if self.random.random() < 0.5:
            await self.heal()
        self.chance.quiet()
        await self.stop()
        self.chance.release()
        for peer in self.server.peers:
            if not peer.up:
                peer.end()  # a server closes a connection whose handshake does not come
        await asyncio.sleep(15)
        for task in self.chance.background:
            task.cancel()
        await self._all_ended()
        await self._nothing_left()

    async def _all_ended(self) -> None:
        if self.hub.state is ConnectionState.DISCONNECTED and not all(call.done() for call in self.limited):
            raise BrokenError(f"calls that never end without a connection: {_waiting()}")
        pending = [call for call in self.calls if not call.done()]
        if pending:
            for call in pending:
                call.cancel()  # iterators without a connection wait for the next start
            await asyncio.wait(pending, timeout=30)
            pending = [call for call in pending if not call.done()]
        if pending:
            raise BrokenError(f"calls that never end: {_waiting()}")

    async def _nothing_left(self) -> None:
        self.calls.clear()
        self.limited.clear()
        if any(name.endswith(" stubborn") for name in self.chance.counts):
            # Code that has swallowed its cancellation waits for the server again, and nobody cancels it any more.
            for peer in self.server.peers:
                peer.end()
        await asyncio.sleep(1)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if left:
            raise BrokenError(f"tasks are left: {_waiting()}")
        if self.hub.state is not ConnectionState.DISCONNECTED:
            raise BrokenError(f"started again: {self.hub.state}")
        # A server is not told of a long polling connection that is dropped.
        if self.transport is not Transport.LONG_POLLING and any(peer.open for peer in self.server.peers if peer.up):
            raise BrokenError("a connection is still open at the server")
        if not all(source.closed for source in self.sources):
            raise BrokenError("the source of an upload was not closed")
        if self.hub._backlog.held:
            raise BrokenError(f"{self.hub._backlog.held} bytes are still counted")
        await self._all_told()
        self._no_timers()

    async def _all_told(self) -> None:
        await self.failures.check()
        if misled := [*self.misled, *self.set_ups.broken, *self.failures.broken]:
            raise BrokenError(misled[0])
        if len(self.ends) != self.ended:
            raise BrokenError(f"on_closed was told {len(self.ends)} times of {self.ended} ends")
        if not all(isinstance(request, TokenRequest) for request in self.requests):
            raise BrokenError(f"the token provider got {self.requests}")

    def _no_timers(self) -> None:
        for peer in self.server.peers:
            peer.end()
        if alive := [timer for timer in timers(asyncio.get_running_loop()) if timer.when() < LONGEST]:
            raise BrokenError(f"timers are left: {alive}")


def _waiting() -> str:
    return ", ".join(sorted(f"{task.get_name()} in {where(task)}" for task in asyncio.all_tasks()))


def play(seed: int) -> World:
    """Play one round.

    Raises:
        BrokenError: something does not hold; its notes have the schedule.
    """
    unseen: list[str] = []
    worlds: list[World] = []

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        if seed % 5 < 2 and sys.version_info >= (3, 12):
            loop.set_task_factory(asyncio.eager_task_factory)
        loop.set_exception_handler(lambda _loop, context: unseen.append(repr_of(context)))
        world = World(seed)
        worlds.append(world)
        logger = logging.getLogger("signalr_sdk")
        handler = _LogHandler(world.chance, loop)
        logger.addHandler(handler)
        try:
            async with asyncio.timeout(LONGEST):
                await world.live()
                await world.end()
            gc.collect(0)
            await asyncio.sleep(0)
            if handler.bugs:
                raise BrokenError(handler.bugs[0])
            if unseen:
                raise BrokenError(f"nobody has seen: {unseen[0]}")
        except TimeoutError as error:
            raise BrokenError(f"something never ended: {_waiting()}") from error
        finally:
            world.chance.quiet()
            world.chance.release()
            logger.removeHandler(handler)

    threaded = seed % 2 == 1
    try:
        if threaded:
            _on_thread(whole)
        else:
            _run(whole)
    except BaseException as error:
        if worlds:
            error.add_note(
                "\n".join([f"seed {seed}, seams {sorted(worlds[0].chance.seams)}", *worlds[0].chance.schedule])
            )
        raise
    return worlds[0]


def repr_of(context: dict[str, Any]) -> str:
    """Return the context of asyncio's exception handler as a text."""
    try:
        return repr(context)
    except Exception:  # noqa: BLE001 - the text of an exception may fail
        return f"{context['message']}: {type(context.get('exception')).__name__}"


def _run(whole: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(whole())


def _on_thread(whole: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run in another thread, where KeyboardInterrupt and SystemExit end no program."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            _run(whole)
        except BaseException as error:  # noqa: BLE001 - raised on the first thread
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
