"""The hubs and paths of Microsoft's classic server of the interop tests, on `ClassicHubServer`, with a control port.

The official clients, which are programs of their own, use the control port to cut connections and to send events from
outside of a hub.
"""

# ruff: noqa: TC003  # the server evaluates the annotations of hub methods

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aiohttp import web

from signalr_sdk import DateTimeOffset, method
from signalr_sdk.testing import ClassicHub, ClassicHubServer, HubException, Progress, RawHandler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_CORE = {
    "negotiateVersion": 1,
    "connectionId": "a",
    "connectionToken": "b",
    "availableTransports": [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}],
}
_ANCIENT = {
    "Url": "/ancient",
    "ConnectionToken": "t",
    "ConnectionId": "i",
    "KeepAliveTimeout": 20.0,
    "DisconnectTimeout": 30.0,
    "TryWebSockets": True,
    "ProtocolVersion": "1.3",
    "TransportConnectTimeout": 5.0,
}
_JSON = "application/json"
_COLOURS = 3


class LoggedHub(ClassicHub):
    """A hub that notes its life."""

    @staticmethod
    def note(hub: str, event: str, connection_id: str, stop_called: bool | None) -> None:
        """Take a note. Who wants the notes overrides this."""

    async def on_connected(self) -> None:
        self._note("connected")

    async def on_reconnected(self) -> None:
        self._note("reconnected")

    async def on_disconnected(self, stop_called: bool) -> None:
        self._note("disconnected", stop_called)

    def _note(self, event: str, stop_called: bool | None = None) -> None:
        self.note(type(self).__name__, event, self.context.connection_id, stop_called)


class CallsHub(LoggedHub):
    """Calls that return something."""

    async def echo(self, value: Any) -> Any:
        return value

    async def add(self, a: int, b: int) -> int:
        return a + b

    @method("Overload")
    async def overload_of_one(self, a: str) -> str:
        del a
        return "one"

    @method("Overload")
    async def overload_of_two(self, a: str, b: str) -> str:
        del a, b
        return "two"

    async def optional(self, a: int, b: int = 5) -> int:
        return a + b

    async def nothing(self) -> None:
        pass

    async def nul(self) -> str | None:
        return None

    @method("re-named")
    async def renamed(self) -> str:
        return "renamed"

    async def slow(self, ms: int) -> str:
        await asyncio.sleep(ms / 1000)
        return "slow"

    async def never(self) -> str:
        await asyncio.Event().wait()
        return ""

    async def work(self, n: int, progress: Progress) -> str:
        for step in range(n):
            progress({"step": step} if step % 2 else step)
            await asyncio.sleep(0.02)
        return "done"

    async def big(self, n: int) -> str:
        return "x" * n

    async def length(self, text: str) -> int:
        return len(text)


class FailingHub(LoggedHub):
    """Calls that fail."""

    async def boom(self) -> int:
        raise RuntimeError("secret boom")

    async def hub_boom(self) -> int:
        raise HubException("visible message", {"code": 7, "why": "because"})

    async def hub_boom_plain(self) -> int:
        raise HubException("plain")

    async def circle(self) -> list[Any]:
        endless: list[Any] = []
        endless.append(endless)
        return endless

    async def secret(self) -> str:
        if self.context.user is None:
            raise PermissionError
        return f"secret of {self.context.user}"


class ValuesHub(LoggedHub):
    """Values of .NET."""

    async def aged(self, p: dict[str, Any]) -> dict[str, Any]:
        return _person({name.lower(): value for name, value in p.items()}, older=1)

    async def numbers(self, n: int) -> list[int]:
        return list(range(n))

    async def tomorrow(self, d: datetime) -> str:
        return f"{(d + timedelta(days=1)).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"

    async def offset(self, d: DateTimeOffset) -> str:
        # The time zone of the real server is UTC, and it writes all dates with an offset in it.
        return d.value.astimezone(UTC).isoformat()

    async def half(self, d: Decimal) -> Decimal:
        return d / 2

    async def same(self, g: UUID) -> UUID:
        return g

    async def twice(self, t: timedelta) -> timedelta:
        return t + t

    async def reverse(self, b: bytes) -> bytes:
        return b[::-1]

    async def next(self, c: int) -> int:
        return (c + 1) % _COLOURS

    async def count(self, text: str) -> dict[str, int]:
        return Counter(text)


def _person(members: dict[str, Any], *, older: int) -> dict[str, Any]:
    friends = members.get("friends")
    return {
        "Name": members.get("name"),
        "Age": members.get("age", 0) + older,
        "Friends": friends and [_person({k.lower(): v for k, v in each.items()}, older=0) for each in friends],
    }


class StateHub(LoggedHub):
    """The state of a client."""

    async def state(self) -> str:
        counter = self.clients.caller.state.get("counter", 0) + 1
        self.clients.caller.state["counter"] = counter
        return f"c={counter}"

    async def read_name(self) -> str | None:
        return self.clients.caller.state.get("name")

    async def state_by_call(self) -> None:
        caller = self.clients.caller
        caller.state["colour"] = "green"
        await caller.send("stateful", "x")


class EventsHub(LoggedHub):
    """Events and groups."""

    async def broadcast_all(self, text: str) -> None:
        await self.clients.all.send("broadcast", text, 1, {"x": 2})

    async def others(self, text: str) -> None:
        await self.clients.others.send("broadcast", text, 2, {"x": 3})

    async def flood(self, count: int) -> None:
        for number in range(count):
            await self.clients.caller.send("number", number)

    async def flood_big(self, count: int, size: int) -> None:
        for number in range(count):
            await self.clients.caller.send("number", number, "x" * size)

    async def to_user(self, user: str, text: str) -> None:
        await self.clients.user(user).send("broadcast", text, 0, None)

    async def call_back(self, method: str, args: list[Any]) -> None:
        await self.clients.caller.send(method, *args)

    @method("Sequence")
    async def numbers_from(self, start: int, count: int) -> None:
        for number in range(start, start + count):
            await self.clients.caller.send("number", number)

    async def join(self, group: str) -> None:
        await self.groups.add(self.context.connection_id, group)
        await self.clients.group(group).send("joined", self.context.connection_id, group)

    async def leave(self, group: str) -> None:
        await self.groups.remove(self.context.connection_id, group)

    async def to_group(self, group: str, text: str) -> None:
        await self.clients.group(group).send("groupMessage", group, text)


class TestHub(CallsHub, FailingHub, ValuesHub, StateHub, EventsHub):
    """A method for each thing that a classic hub can do."""

    __test__ = False

    async def on_connected(self) -> None:
        await super().on_connected()
        await self.clients.caller.send("welcome", self.context.connection_id)

    async def on_reconnected(self) -> None:
        await super().on_reconnected()
        await self.clients.caller.send("welcomeBack", self.context.connection_id)

    async def id(self) -> str:
        return self.context.connection_id

    async def user(self) -> str | None:
        return self.context.user

    async def cookie(self, name: str) -> str | None:
        morsel = SimpleCookie(self.context.headers.get("cookie", "")).get(name)
        return None if morsel is None else morsel.value

    async def header(self, name: str) -> str | None:
        return self.context.headers.get(name.lower())

    async def query(self, name: str) -> str | None:
        return self.context.query.get(name)

    async def transport(self) -> str | None:
        return self.context.query.get("transport")


class OtherHub(LoggedHub):
    """A second hub on the same connection."""

    async def echo(self, text: str) -> str:
        return f"other:{text}"

    async def notify(self, text: str) -> None:
        await self.clients.all.send("note", text)

    async def shout(self, text: str) -> None:
        await self.clients.caller.send("broadcast", f"other:{text}")


class QuietHub(LoggedHub):
    """A third hub."""

    async def one(self) -> int:
        return 1

    async def notify(self, text: str) -> None:
        await self.clients.all.send("note", text)


class SecretHub(LoggedHub):
    """A hub that wants a user."""

    requires_user = True

    async def who(self) -> str | None:
        return self.context.user


class RawEcho(RawHandler):
    """A connection without hubs: echoes, and obeys `join:g`, `leave:g`, `group:text` (to `g`) and `all:text`."""

    @staticmethod
    def note(hub: str, event: str, connection_id: str, stop_called: bool | None) -> None:
        """Take a note. Who wants the notes overrides this."""

    async def on_connected(self) -> None:
        self.note("raw", "connected", self.context.connection_id, None)
        await self.connections.send(self.context.connection_id, {"hello": self.context.connection_id})

    async def on_reconnected(self) -> None:
        self.note("raw", "reconnected", self.context.connection_id, None)
        await self.connections.send(self.context.connection_id, "again")

    async def on_disconnected(self, stop_called: bool) -> None:
        self.note("raw", "disconnected", self.context.connection_id, stop_called)

    async def on_received(self, data: str) -> None:
        word, _colon, text = data.partition(":")
        match word:
            case "join":
                await self.connections.add(self.context.connection_id, text)
            case "leave":
                await self.connections.remove(self.context.connection_id, text)
            case "group":
                await self.connections.send_to_group("g", text)
            case "all":
                await self.connections.broadcast(text)
            case _:
                await self.connections.send(self.context.connection_id, {"echo": data})


HUBS: dict[str, type[LoggedHub]] = {"testHub": TestHub, "other": OtherHub, "quiet": QuietHub, "secret": SecretHub}
RAW: dict[str, type[RawEcho]] = {"/raw": RawEcho}
# The times of the classic server of the interop tests.
TIMES: Mapping[str, Any] = {"keep_alive": 2.0, "disconnect": 6.0, "connection_timeout": 5.0, "connect_timeout": 5.0}


def user_of(token: str | None) -> str:
    """Return the user whom a bearer token stands for: its own text, as on the classic server of the interop tests."""
    return {"redirect-token": "azure-user"}.get(token or "", token or "")


def make_server(**options: Any) -> ClassicHubServer:
    """Return a server with all hubs, not started."""
    return ClassicHubServer(HUBS, **{"raw": RAW, "authorize": user_of, **TIMES, **options})


def add_other_paths(server: ClassicHubServer) -> None:
    """Let a started server answer at `/redirect`, `/error` and the like as the classic server of the interop tests."""
    url, faults = server.url, server.faults
    _ = faults.redirect(f"{url()}?asrs=1", access_token="redirect-token", path="/redirect")
    _ = faults.redirect(url("/redirect"), path="/twice")
    _ = faults.redirect(url("/loop"), path="/loop")
    _ = faults.redirect(url(), status=302, path="/moved")
    answers = {
        "/error": {"ProtocolVersion": "2.0", "Error": "go away"},
        "/core": _CORE,
        "/ancient": _ANCIENT,
    }
    for path, members in answers.items():
        _ = faults.answer("negotiate", 200, json.dumps(members), times=None, path=path, content_type=_JSON)


@asynccontextmanager
async def control_port(server: ClassicHubServer) -> AsyncIterator[str]:
    """Answer the requests for control that the official clients' programs send; give the URL."""

    async def drop(request: web.Request) -> web.Response:
        how: Any = request.query["how"]
        return web.json_response(server.faults.drop(how, transport=request.query.get("transport")))

    async def broadcast(request: web.Request) -> web.Response:
        clients = server.clients("testHub")
        group = request.query.get("group")
        proxy = clients.all if group is None else clients.group(group)
        await proxy.send(request.query["method"], *json.loads(await request.text()))
        return web.json_response("ok")

    app = web.Application()
    app.add_routes([web.post("/drop", drop), web.post("/broadcast", broadcast)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port: int = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
