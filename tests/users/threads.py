"""One round of the thread facade, in real time: its calls come from several threads."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from signalr_sdk import ConnectionState, Retry, SignalRError, Timeouts, TokenRequest, Transport
from signalr_sdk.sync import HubConnection, Upload

from .failures import Failures
from .seams import SEAMS, Converter, Money, Policy, Protocol, Server
from .set_ups import SetUps
from .world import BrokenError
from .wrongs import FINE, Chance

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalr_sdk._core.lifecycle import Event, State

TIMEOUTS = Timeouts(
    close=0.3, request=0.4, connect=0.3, handshake=0.3, ready=0.3, keep_alive=0.3, server=1.0, pause=0.2, setup=0.5
)
STOP = TIMEOUTS.close + 0.5 + 1.0  # type: ignore[operator]  # a busy machine gets a second more
HEALED = 30.0
ENDED = 15.0


class ThreadChance(Chance):
    """A `Chance` for functions that run on any thread."""

    pace = 0.02

    def __init__(self, seed: int) -> None:
        super().__init__(seed, SEAMS)
        self.began = time.monotonic()
        self.loose = threading.Event()
        self._ends = True
        # The thread of the event loop ends with the last connection, and another one may follow.
        self._events: dict[asyncio.AbstractEventLoop, asyncio.Event] = {}

    def now(self) -> float:
        return time.monotonic() - self.began

    @property
    def released(self) -> asyncio.Event:
        event = self._events.setdefault(asyncio.get_running_loop(), asyncio.Event())
        if self.loose.is_set():
            event.set()
        return event

    def release(self) -> None:
        self.loose.set()
        for loop, event in list(self._events.items()):
            with suppress(RuntimeError):  # closed
                loop.call_soon_threadsafe(event.set)

    def meddle_now(self, seam: str, *, ends: bool = True) -> Any:
        wrong = self._choose(seam)
        if wrong == "call":
            with suppress(BaseException):
                self.random.choice(self.callbacks)()
            return FINE
        return self._at_once(wrong, ends=ends)

    def meddle_on_thread(self, seam: str) -> Any:
        """As `meddle`, for functions that may block: handlers, providers, sources."""
        wrong = self._choose(seam)
        match wrong:
            case "hang" | "stubborn":
                self.loose.wait()
            case "slow":
                time.sleep(self.random.choice([0.0, 0.01, 0.1]))
            case "call":
                with suppress(SignalRError, OSError):
                    self.random.choice(self.callbacks)()
            case _:
                return self._at_once(wrong)
        return FINE


class _LogHandler(logging.Handler):
    def __init__(self, chance: ThreadChance) -> None:
        super().__init__(logging.INFO)
        self.bugs: list[str] = []
        self._chance = chance

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "the connection failed" and record.exc_info:
            self.bugs.append(logging.Formatter().format(record))
        self._chance.meddle_now("log handler", ends=False)


class ThreadWorld:
    """A connection of the thread facade, its users and its server."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = ThreadChance(seed)
        self.random = chance.random
        self.servers: list[Server] = []
        self.threads: list[threading.Thread] = []
        self.probes = 0
        self.ended = 0
        self.ends: list[object] = []
        self.requests: list[Any] = []
        self.set_ups = SetUps(chance, active=self.random.random() < 0.5)
        choose = self.random.choice
        raises = choose([False, False, True])
        options: dict[str, Any] = {
            "http": self.client,
            "transports": choose(list(Transport)),
            "timeouts": attrs.evolve(TIMEOUTS, idle=choose([None, None, 0.8])),
            "handler_errors": "raise" if raises else "report",
            "reconnect": choose([Policy(chance), Retry.forever(wait=lambda _state: 0.01), True, False]),
            "retry_start": choose([False, Policy(chance)]),
            "access_token": choose([None, self.provide, self.provide_for]),
            "protocol": choose(["json", Protocol(chance)]),
            "converter": choose([None, Converter(chance)]),
            "stateful_reconnect": choose([False, True]),
        }
        hub = self.hub = HubConnection("http://hub.test/chat", **options)
        self.failures = Failures(hub._hub, raises=raises)
        self._watch_states()
        self._register_set_up()
        self._register()
        chance.callbacks = [
            hub.start,
            hub.stop,
            hub.flush,
            hub.reconnect,
            lambda: hub.invoke("Echo", self.set_ups.whose(), timeout=0.2),
            lambda: hub.send("Log", self.set_ups.whose()),
            lambda: hub.wait_connected(0.1),
            lambda: hub.off("tick"),
            self._register,
        ]

    def client(self) -> Server:
        server = Server(self.chance)
        server.called = self.set_ups.called
        self.servers.append(server)
        return server

    def _watch_states(self) -> None:
        lifecycle = self.hub._hub._life.lifecycle
        fire = lifecycle.fire

        def watched(event: Event) -> State:
            state = fire(event)
            self.failures.fired(event, state)
            return state

        lifecycle.fire = watched  # type: ignore[method-assign]

    def _register_set_up(self) -> None:
        hub = self.hub
        if self.set_ups.active:
            hub.on_setup(self.set_up)
            hub.on_setup(self.set_ups.succeeded)

    def set_up(self, connection_id: str) -> None:
        """A set-up handler: it calls the hub, and may go wrong."""
        hub, chance = self.hub, self.chance
        self.set_ups.begin(connection_id)
        chance.meddle_on_thread("set-up")
        for what in chance.random.choices(["invoke", "send", "stream", "wait"], k=2):
            match what:
                case "invoke":
                    hub.invoke("Echo", self.set_ups.whose())
                case "send":
                    hub.send("Log", self.set_ups.whose())
                case "stream":
                    list(hub.stream("Count", self.set_ups.whose()))
                case _:
                    with suppress(TimeoutError):
                        hub.wait_for("tick", 0.01)
        chance.meddle_on_thread("set-up")

    def _register(self) -> None:
        hub = self.hub
        hub.on("tick", self.handle)
        hub.on("probe", self._probed)
        hub.on("ask", self.answer)
        hub.on_error(self.failures.reported)
        hub.on_closed(self.ends.append)
        hub.on_closed(self.failures.closed)
        hub.on_connected(self.lifecycle)
        hub.on_reconnecting(self.lifecycle)
        hub.on_closed(self.closing)
        hub.on_error(self.error)

    def _probed(self) -> None:
        self.probes += 1

    def provide(self) -> Any:
        wrong = self.chance.meddle_on_thread("provider")
        return "token" if wrong.__class__ is object else wrong

    def provide_for(self, request: Any) -> Any:
        self.requests.append(request)
        return self.provide()

    def handle(self, *_args: Any) -> Any:
        return self._handled("handler")

    def _handled(self, seam: str) -> Any:
        life = self.failures.called()
        try:
            return self.chance.meddle_on_thread(seam)
        except BaseException as error:
            self.failures.failed(life, error)
            raise

    def answer(self, *_args: Any) -> Any:
        self.set_ups.answering()
        wrong = self.chance.meddle_on_thread("client result")
        return 1 if wrong.__class__ is object else wrong

    def lifecycle(self, _value: Any) -> None:
        self._handled("lifecycle handler")

    def closing(self, _value: Any) -> None:
        self.chance.meddle_on_thread("lifecycle handler")

    def error(self, _error: Exception) -> None:
        self.chance.meddle_on_thread("error handler")

    def items(self) -> Any:
        for n in range(3):
            wrong = self.chance.meddle_on_thread("source next")
            yield n if wrong is FINE else wrong

    def listen(self, names: tuple[str, ...]) -> None:
        with self.hub.events(*names, overflow="drop_oldest") as events:
            while events.next(0.1).name != "probe":
                self.chance.meddle_on_thread("handler")

    # What happens

    def begin(self, call: Callable[[], object]) -> None:
        """Make a call of the user's on a thread."""

        def run() -> None:
            with suppress(BaseException):  # whatever it raises, it has ended
                call()

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()

    def step(self) -> None:
        """Let something happen."""
        hub, choose = self.hub, self.random.choice
        timeout = choose([None, 0.2, 0.0])
        choose(
            [
                *([lambda: self.begin(hub.start)] * 3),
                lambda: self.begin(hub.stop),
                *([lambda: self.begin(hub.reconnect)] * 2),
                lambda: self.begin(lambda: hub.invoke(choose(["Echo", "Never"]), "others", timeout=timeout)),
                lambda: self.begin(lambda: hub.invoke("Echo", "others", Money(), result_type=int, timeout=timeout)),
                lambda: self.begin(lambda: hub.invoke("Echo", "others", Upload(self.items()), timeout=timeout)),
                lambda: self.begin(lambda: hub.send("Log", "others", self.items())),
                lambda: self.begin(lambda: hub.send("Log", "others", Money())),
                lambda: self.begin(lambda: hub.send("Log", "others")),
                lambda: self.begin(hub.flush),
                lambda: self.begin(lambda: hub.wait_for("tick", 0.1)),
                lambda: self.begin(lambda: self.listen(choose([(), ("tick", "tock")]))),
                lambda: self.begin(lambda: list(hub.stream("Count", "others", item_type=choose([Any, int])))),
                *([self.serve] * 4),
            ]
        )()

    def serve(self) -> None:
        """Let the server do something, on the loop's thread."""
        what = self.random.choice(["tick", "ask", "cut", "close", "end", "garbage"])
        self.chance.note(f"server: {what}")
        self.on_loop(lambda: self._serve(what))

    def on_loop(self, function: Callable[[], None]) -> None:
        """Call a function on the loop's thread, if there is one."""
        loop = self.hub._hub._life.loop
        if loop is not None:
            with suppress(RuntimeError):  # closed meanwhile
                loop.call_soon_threadsafe(function)

    def _serve(self, what: str) -> None:
        peer = next((peer for server in reversed(self.servers) for peer in reversed(server.peers) if peer.open), None)
        if peer is None or not peer.up:
            return
        match what:
            case "cut":
                peer.vanish()
            case "close":
                peer.say({"type": 7, "error": "bye", "allowReconnect": True})
                peer.end()
            case "end":
                peer.end()
            case "garbage":
                peer.say(b"garbage\x1e")
            case "ask":
                peer.say({"type": 1, "target": what, "arguments": [1], "invocationId": "q"})
            case _:
                peer.say({"type": 1, "target": what, "arguments": [1]})

    def live(self) -> None:
        """Let things happen at random times."""
        self.begin(self.hub.start)
        for _ in range(self.random.randint(10, 40)):
            self.step()
            time.sleep(self.random.choice([0.0, 0.0, 0.001, 0.01, 0.05]))

    # What must hold

    def heal(self) -> None:
        """With nothing going wrong any more the connection must be up and work, or have ended."""
        self.chance.quiet()
        self.chance.release()
        until = time.monotonic() + HEALED
        while time.monotonic() < until:
            if self.hub.state is ConnectionState.DISCONNECTED:
                time.sleep(0.5)
                if self.hub.state is ConnectionState.DISCONNECTED:
                    return
            seen = self.probes
            with suppress(SignalRError, OSError):
                self.hub.wait_connected(2)
                if self.hub.invoke("Echo", "others", timeout=2) != 7:
                    raise BrokenError("a call got a wrong answer")
                self.on_loop(self._probe)
                time.sleep(0.05)
            if self.probes > seen:
                if self.failures.error is not None:
                    raise BrokenError("the connection goes on after a handler has failed")
                return
        raise BrokenError(f"the connection is {self.hub.state} and does not work after {HEALED:g} s without a fault")

    def _probe(self) -> None:
        for server in self.servers:
            for peer in server.peers:
                peer.say({"type": 1, "target": "probe", "arguments": []})

    def stop(self) -> None:
        """Stop, and measure the time."""
        for _ in range(4):  # somebody who waited may start it again
            began = time.monotonic()
            self.chance.note("stop()")
            self.hub.stop()
            took = time.monotonic() - began
            if took > STOP:
                raise BrokenError(f"stop() took {took:.2f} s")
            time.sleep(0.02)
            if self.hub.state is ConnectionState.DISCONNECTED:
                return
        raise BrokenError(f"after stop() the connection is {self.hub.state}")

    def end(self) -> None:
        """Stop, in the middle of what goes wrong or after it, and look at what is left."""
        if self.random.random() < 0.5:
            self.heal()
        self.chance.quiet()
        self.stop()
        self.chance.release()
        until = time.monotonic() + ENDED
        while time.monotonic() < until and any(thread.is_alive() for thread in self.threads):
            with suppress(SignalRError):
                self.hub.stop()  # a call that came late may have started it again
            time.sleep(0.02)
        if any(thread.is_alive() for thread in self.threads):
            raise BrokenError("a call never ends")
        self.hub.stop()
        if self.hub.state is not ConnectionState.DISCONNECTED:
            raise BrokenError(f"after the last stop() the connection is {self.hub.state}")

    def look(self, bugs: list[str]) -> None:
        """Raise the first sign of a bug."""
        if bugs:
            raise BrokenError(bugs[0])
        if not all(isinstance(request, TokenRequest) for request in self.requests):
            raise BrokenError(f"the token provider got {self.requests}")
        if broken := [*self.set_ups.broken, *self.failures.broken]:
            raise BrokenError(broken[0])


def play(seed: int) -> ThreadWorld:
    """Play one round.

    Raises:
        BrokenError: something does not hold; its notes have the schedule.
    """
    world = ThreadWorld(seed)
    handler = _LogHandler(world.chance)
    logger = logging.getLogger("signalr_sdk")
    logger.addHandler(handler)
    try:
        world.live()
        world.end()
        gc.collect(0)
        world.look(handler.bugs)
    except BaseException as error:
        error.add_note("\n".join([f"seed {seed}, seams {sorted(world.chance.seams)}", *world.chance.schedule]))
        raise
    finally:
        world.chance.quiet()
        world.chance.release()
        logger.removeHandler(handler)
    return world
