"""Our classic server with the paths and the control of Microsoft's classic server, for the same tests against both."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web
from tests.classic_server import HUBS, RAW, TIMES, LoggedHub, RawEcho, add_other_paths, user_of

from signalr_sdk.testing import ClassicHubServer

if TYPE_CHECKING:
    from types import TracebackType

    from signalr_sdk.testing import Fault

# The flags of Microsoft's program, and the options of ours.
_FLAGS: dict[str, tuple[str, Any]] = {
    "--no-websockets": ("web_sockets", False),
    "--detailed-errors": ("detailed_errors", True),
    "--debug": ("debug", True),
}
_VALUES = {
    "--disconnect": "disconnect",
    "--keep-alive": "keep_alive",
    "--connection-timeout": "connection_timeout",
    "--connect-timeout": "connect_timeout",
    "--long-poll-delay": "long_poll_delay",
    "--buffer": "message_buffer",
    "--max-message": "max_message",
    "--port": "port",
}
_STICKY, _AZURE = "/sticky/signalr", "/azure/signalr"


class _LoggedServer(ClassicHubServer):
    """A server that notes each request, and has two paths more: behind a load balancer, and behind a redirect."""

    def __init__(self, happened: list[dict[str, Any]], **options: Any) -> None:
        hubs = {name: _logged(hub, self._note_event) for name, hub in HUBS.items()}
        raw = {path: _logged_raw(handler, self._note_event) for path, handler in RAW.items()}
        super().__init__(hubs, raw=raw, authorize=self._authorize, **{**TIMES, **options})
        self.happened = happened
        self.valid_tokens: set[str] = set()
        for path in (_STICKY, _AZURE):
            self._endpoints[path] = self._endpoint(path, self._hubs)

    def _authorize(self, token: str | None) -> str | None:
        return None if self.valid_tokens and token not in self.valid_tokens else user_of(token)

    def _note_event(self, hub: str, event: str, connection_id: str, stop: bool | None) -> None:
        self._note(kind="event", hub=hub, event=event, id=connection_id, stop=stop)

    def _note(self, **what: Any) -> None:
        self.happened.append({"n": len(self.happened), "t": time.monotonic(), **what})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        headers = {name.lower(): value for name, value in request.headers.items()}
        path, query = request.path, request.rel_url.raw_query_string
        self._note(kind="request", method=request.method, path=path, query=query, body=body, headers=headers)
        base, _slash, command = path.lower().rpartition("/")
        if base == _STICKY and command != "negotiate" and "AWSALB" not in request.cookies:
            return web.Response(status=400)
        if base == _AZURE and (request.query.get("asrs") != "1" or not _has_token(request)):
            return web.Response(status=401)
        if base == "/redirect" and command == "negotiate":
            return web.json_response(
                {
                    "ProtocolVersion": "2.0",
                    "RedirectUrl": f"{self.url(_AZURE)}?asrs=1",
                    "AccessToken": "redirect-token",
                }
            )
        response = await super()._handle(request)
        if base == _STICKY and command == "negotiate":
            response.set_cookie("AWSALB", "a")
            response.set_cookie("AWSALBCORS", "b")
        return response


def _has_token(request: web.Request) -> bool:
    header = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return "redirect-token" in (header, request.query.get("access_token"))


def _logged(hub: type[LoggedHub], note: Any) -> type[LoggedHub]:
    return type(hub.__name__, (hub,), {"note": staticmethod(note), "__module__": hub.__module__})


def _logged_raw(handler: type[RawEcho], note: Any) -> type[RawEcho]:
    return type(handler.__name__, (handler,), {"note": staticmethod(note), "__module__": handler.__module__})


class ClassicTwin:
    """Our server in a thread, with the methods that tests use of Microsoft's server (`ClassicServer`).

    Attributes:
        http: the URL of the server, without a path.
    """

    def __init__(self, **options: Any) -> None:
        self._happened: list[dict[str, Any]] = []
        self._server = _LoggedServer(self._happened, **options)
        self._stack = ExitStack()
        self._stack.enter_context(self._server)
        add_other_paths(self._server)
        self.http = self._server.url("")
        self._muted: Fault | None = None
        self._refused: Fault | None = None

    @classmethod
    def start(cls, *options: str) -> Self:
        """Start a server, with the options of Microsoft's program."""
        given: dict[str, Any] = {}
        words = iter(options)
        for word in words:
            if word in _FLAGS:
                name, value = _FLAGS[word]
                given[name] = value
            else:
                given[_VALUES[word]] = _number(next(words))
        return cls(**given)

    def url(self, path: str = "/signalr") -> str:
        """Return the URL of a path."""
        return self.http + path

    async def control(self, path: str, body: Any = None, /, **query: Any) -> Any:
        """Do what a request to the control port of Microsoft's program does."""
        return await asyncio.to_thread(self._control, path, body, query)

    def _control(self, path: str, body: Any, query: dict[str, Any]) -> Any:
        faults = self._server.faults
        match path:
            case "/drop":
                return faults.drop(query.get("how", "reset"), transport=query.get("transport"))
            case "/rule":
                self._add_rule(body)
            case "/rules/clear":
                faults.clear()
                add_other_paths(self._server)
            case "/mute":
                self._mute(query["what"])
            case "/push":
                return faults.push(query["text"])
            case "/broadcast" | "/raw":
                self._server._later(lambda: self._send(path, body, query)).result()
            case _:
                self._control_all(path, query)
        return "ok"

    def _control_all(self, path: str, query: dict[str, Any]) -> None:
        faults = self._server.faults
        match path:
            case "/tokens":
                self._server.valid_tokens = {token for token in query["valid"].split(",") if token}
            case "/refuse":
                self._refuse(is_on=str(query["on"]) == "1")
            case "/restart":
                faults.restart(query.get("keys", "new"), down=float(query.get("seconds", 0))).result()
            case "/shutdown":
                faults.shut_down()
            case _:
                raise ValueError(path)

    async def _send(self, path: str, body: Any, query: dict[str, Any]) -> None:
        if path == "/raw":
            await self._server.raw_connections("/raw").broadcast(body)
            return
        clients = self._server.clients(query.get("hub", "testHub"))
        proxy = clients.all
        if "group" in query:
            proxy = clients.group(query["group"])
        elif "user" in query:
            proxy = clients.user(query["user"])
        elif "connection" in query:
            proxy = clients.client(query["connection"])
        await proxy.send(query.get("method", "broadcast"), *body)

    def _add_rule(self, rule: dict[str, Any]) -> None:
        faults, command = self._server.faults, rule["suffix"].removeprefix("/")
        times = None if rule.get("times", 1) < 0 else rule.get("times", 1)
        where: dict[str, Any] = {"times": times, "transport": rule.get("transport")}
        if "delay" in rule:
            _ = faults.delay(command, rule["delay"], **where)
        if rule.get("hang"):
            _ = faults.hang(command, **where)
        elif rule.get("reset"):
            _ = faults.hang_up(command, **where)
        elif "status" in rule:
            more = {"content_type": rule.get("type", "text/plain"), "headers": rule.get("headers")}
            _ = faults.answer(command, rule["status"], rule.get("body", ""), **where, **more)

    def _mute(self, what: str) -> None:
        if self._muted is not None:
            self._muted.end()
            self._muted = None
        if what in ("all", "keepalive"):
            self._muted = self._server.faults.silence(keep_alive_only=what == "keepalive")

    def _refuse(self, *, is_on: bool) -> None:
        if self._refused is not None:
            self._refused.end()
            self._refused = None
        if is_on:
            self._refused = self._server.faults.refuse()

    async def log(self, kind: str | None = None, **members: object) -> list[dict[str, Any]]:
        """Return what happened, oldest first."""
        wanted = members if kind is None else {"kind": kind, **members}
        return [each for each in list(self._happened) if wanted.items() <= each.items()]

    async def events(self, connection_id: str, hub: str = "TestHub") -> list[str]:
        """Return the lifecycle events of a connection in one hub, oldest first."""
        return [each["event"] for each in await self.log("event", id=connection_id, hub=hub)]

    async def wait_event(self, connection_id: str, event: str, hub: str = "TestHub") -> dict[str, Any]:
        """Return a lifecycle event of a connection; wait if it has not happened yet."""
        while True:
            if found := await self.log("event", id=connection_id, event=event, hub=hub):
                return found[0]
            await asyncio.sleep(0.02)

    async def clear(self) -> None:
        """Forget what happened, and all faults."""
        for path, query in (("/rules/clear", {}), ("/mute", {"what": "none"}), ("/tokens", {"valid": ""})):
            await self.control(path, **query)
        self._happened.clear()

    async def broadcast(self, method: str, *arguments: object, **target: object) -> None:
        """Call the clients from outside of a hub: `group=`, `user=` or `connection=` names some of them."""
        await self.control("/broadcast", list(arguments), method=method, **target)

    def close(self) -> None:
        """Stop the server."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()


def _number(text: str) -> float | int | None:
    if text in ("off", "none"):
        return None
    found: float | int = json.loads(text)
    return found
