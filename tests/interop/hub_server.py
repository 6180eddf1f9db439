"""ASP.NET Core as a child process: find it, start it, ask it what it saw, stop it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).parent / "server"
VARIABLE = "SIGNALR_INTEROP_SERVER"
# The newest release of ASP.NET Core that is in support, and the release before.
NEWEST, BEFORE = "hub-server", "hub-server-10"
START_LIMIT = 60.0  # seconds; it takes two on an idle machine
BUILD_LIMIT = 600.0
STOP_LIMIT = 5.0

# Tests talk to 127.0.0.1 only: a proxy of the environment must not come between.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerMissingError(Exception):
    """There is no server program on this machine."""


class ServerFailedError(Exception):
    """The server program is there, but does not run."""


@attrs.frozen
class ServerEvent:
    """Something that the server saw."""

    kind: str
    connection_id: str
    detail: str | None


def find_program(name: str = NEWEST) -> Path:
    """Return the server program of a release, the newest one built if need be (see server/README.md)."""
    variable = VARIABLE if name == NEWEST else f"{VARIABLE}_10"
    if named := os.environ.get(variable):
        program = Path(named)
        if not program.is_file():
            raise ServerFailedError(f"{variable} names {named}, which is not a file")
        return program
    shared = ROOT / ".." / "shared" / "aspnet" / "bin" / name
    if shared.is_file():
        return shared.resolve()
    built = SOURCE / "bin" / name
    if built.is_file():
        return built
    if name == NEWEST and (dotnet := shutil.which("dotnet")):
        return _build(dotnet, built)
    raise ServerMissingError(
        f"no ASP.NET Core server: set {variable} to a {name} program, or install the .NET SDK to build "
        f"{SOURCE.relative_to(ROOT)}"
    )


def _build(dotnet: str, program: Path) -> Path:
    options = ["-f", "net11.0", "-c", "Release", "--self-contained", "-p:PublishSingleFile=true", "-o", "bin"]
    command = [dotnet, "publish", *options]
    done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=BUILD_LIMIT, check=False)
    if done.returncode != 0:
        raise ServerFailedError(f"cannot build {SOURCE}:\n{done.stdout}\n{done.stderr}")
    return program


class HubServer:
    """A running server. Its control methods may be used from any event loop; `ask` from any thread."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, addresses: dict[str, str | None]) -> None:
        self._process = process
        self._log = log
        self._addresses = addresses

    @classmethod
    def start(
        cls,
        name: str = NEWEST,
        *,
        port: int = 0,
        certificate: Path | None = None,
        key: Path | None = None,
        require_client_certificate: bool = False,
        redis: str | None = None,
        ledger: Path | None = None,
    ) -> Self:
        """Start a server and wait until it listens.

        Args:
            name: of the program, which says the release.
            port: of plain HTTP; a free one by default.
            certificate: PEM file; with `key` the server listens with HTTPS too.
            key: PEM file.
            require_client_certificate: refuse HTTPS clients that show none.
            redis: host and port of the backplane that it shares with others.
            ledger: the file in which the ledger hubs keep what clients store.

        Raises:
            ServerMissingError: there is no program to start.
            ServerFailedError: it ended, or did not say that it is ready; the text has what it wrote.
        """
        arguments = [str(find_program(name)), "serve", "--watch-stdin", "--port", str(port)]
        if redis is not None:
            arguments += ["--redis", redis]
        if ledger is not None:
            arguments += ["--ledger", str(ledger)]
        if certificate is not None:
            arguments += ["--cert", str(certificate), "--key", str(key)]
        if require_client_certificate:
            arguments.append("--require-client-cert")
        handle, name = tempfile.mkstemp(prefix="hub-server-", suffix=".log")
        try:
            process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=handle)
        finally:
            os.close(handle)
        server = cls(process, Path(name), {})
        try:
            server._addresses = server._read_addresses()
        except BaseException:
            server.close()
            raise
        return server

    def _read_addresses(self) -> dict[str, str | None]:
        assert self._process.stdout is not None
        watchdog = threading.Timer(START_LIMIT, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
            watchdog.join()
        try:
            addresses: dict[str, str | None] = json.loads(line)
        except ValueError:
            raise ServerFailedError(f"the server did not start; it wrote:\n{line!r}\n{self.log_text()}") from None
        return addresses

    def url(self, path: str = "/hub", *, https: bool = False) -> str:
        """Return the URL of a path."""
        address = self._addresses["https" if https else "http"]
        assert address is not None, "this server was started without a certificate"
        return address + path

    @property
    def port(self) -> int:
        """The port of plain HTTP."""
        port = urllib.parse.urlsplit(self.url()).port
        assert port is not None
        return port

    def log_text(self) -> str:
        """Return what the server has logged."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    # Control

    def ask(self, method: str, path: str, body: object = None, /, **query: object) -> tuple[Any, dict[str, str]]:
        """Send a control request from this thread; return the answer (decoded if it is JSON) and its cookies."""
        given = {name: value for name, value in query.items() if value is not None}
        if given:
            path += "?" + urllib.parse.urlencode(given)
        data = json.dumps(body).encode() if body is not None else b"" if method == "POST" else None
        headers = {"Content-Type": "application/json"} if body is not None else {}
        request = urllib.request.Request(self.url(path), data, headers, method=method)
        with _opener.open(request, timeout=STOP_LIMIT) as answer:
            text = answer.read().decode()
            is_json = answer.headers.get_content_type() == "application/json"
            cookies = [value.partition(";")[0] for value in answer.headers.get_all("Set-Cookie", [])]
        return json.loads(text) if is_json and text else text, dict(cookie.split("=", 1) for cookie in cookies)

    async def _ask(self, method: str, path: str, body: object = None, /, **query: object) -> Any:
        answer, _cookies = await asyncio.to_thread(self.ask, method, path, body, **query)
        return answer

    async def events(
        self, kind: str | None = None, *, connection_id: str | None = None, detail: str | None = None
    ) -> list[ServerEvent]:
        """Return what the server saw, oldest first; with arguments only what fits them all."""
        seen = [
            ServerEvent(event["kind"], event["connectionId"], event["detail"])
            for event in await self._ask("GET", "/control/events")
        ]
        return [
            event
            for event in seen
            if kind in (None, event.kind)
            and connection_id in (None, event.connection_id)
            and detail in (None, event.detail)
        ]

    async def wait_event(
        self, kind: str, *, connection_id: str | None = None, detail: str | None = None, timeout: float = 5.0
    ) -> ServerEvent:
        """Return the first such event, waiting for it if need be.

        Raises:
            AssertionError: it did not come; the text has those that did.
        """
        deadline = time.monotonic() + timeout
        while True:
            if found := await self.events(kind, connection_id=connection_id, detail=detail):
                return found[0]
            if time.monotonic() > deadline:
                raise AssertionError(f"the server saw no {kind!r} in {timeout:g} s, but {await self.events()}")
            await asyncio.sleep(0.02)

    async def clear_events(self) -> None:
        """Forget all events."""
        await self._ask("POST", "/control/events/clear")

    async def connections(self) -> list[str]:
        """Return the ids of the open hub connections."""
        ids: list[str] = await self._ask("GET", "/control/connections")
        return ids

    async def abort(self, connection_id: str) -> bool:
        """End a connection (Close, no reconnect allowed); return whether there was one."""
        done: bool = await self._ask("POST", "/control/abort", connectionId=connection_id)
        return done

    async def drop_transports(self, path: str | None = None) -> int:
        """Cut the wire under open requests (of one path) without closing their connections; return how many."""
        dropped: int
        try:
            dropped = await self._ask("POST", "/control/drop-transports", path=path)
        except urllib.error.HTTPError as error:
            if error.code != 500:
                raise
            # A request was ending while the server looked at it.
            dropped = await self._ask("POST", "/control/drop-transports", path=path)
        return dropped

    async def send(
        self,
        target: str,
        *arguments: object,
        connection_id: str | None = None,
        group: str | None = None,
        user: str | None = None,
    ) -> None:
        """Send an event to clients of `/hub`: to one connection, a group, a user, or all."""
        body = {"target": target, "arguments": arguments, "connectionId": connection_id, "group": group, "user": user}
        await self._ask("POST", "/control/send", body)

    async def token(self, user: str, seconds: float | None = None) -> str:
        """Return a bearer token."""
        text: str = await self._ask("GET", "/token", user=user, seconds=seconds)
        return text

    async def login(self, user: str) -> dict[str, str]:
        """Return the cookies that `/hub-cookie` wants."""
        _answer, cookies = await asyncio.to_thread(self.ask, "POST", "/login", user=user)
        return cookies

    async def shutdown(self) -> None:
        """Stop the server in good order and wait for its end."""
        await self._ask("POST", "/control/shutdown")
        await asyncio.to_thread(self._process.wait, 2 * STOP_LIMIT)

    # Faults

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    async def wait_ended(self) -> None:
        """Wait until the process is gone."""
        await asyncio.to_thread(self._process.wait, START_LIMIT)

    def kill(self) -> None:
        """End the process at once: it says good-bye to nobody."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Stop the process where it is, until `resume`: its system still takes connections and bytes for it."""
        self._process.send_signal(signal.SIGSTOP)
        # Its threads go on until each has noticed.
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Let the process go on."""
        self._process.send_signal(signal.SIGCONT)

    # The end

    def close(self) -> None:
        """End the process, whatever it is doing. May be called again."""
        process = self._process
        assert process.stdin is not None
        self.resume()
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._log.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
