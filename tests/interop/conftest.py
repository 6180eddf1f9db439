"""The interop tier: the client against ASP.NET Core itself, on each combination of transport and protocol."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs
import pytest
import trustme
from tests.classic_twin import ClassicTwin
from tests.python_server import AnyServer, PythonServer

from signalr_sdk import Transport

from .classic_server import ClassicServer
from .hub_server import BEFORE, NEWEST, HubServer, ServerMissingError

HERE = Path(__file__).parent
SERVERS = pytest.StashKey[dict[str, HubServer | ServerMissingError]]()
# The fixtures that need the server of a release.
WANTED_BY = {NEWEST: {"hub_server", "any_server"}, BEFORE: {"any_server"}}
LOG_TAIL = 4000  # characters of the server's log that a failed test shows


# The servers are started before the first test, so that no test's time limit pays for them.


# A start takes two seconds on an idle machine.
STARTING = {
    "running_classic_server",
    "start_classic_server",
    "start_server",
    "https_server",
    "client_certificate_server",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.interop)
            if STARTING & {*getattr(item, "fixturenames", ())} and item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(100))


def pytest_collection_finish(session: pytest.Session) -> None:
    servers = session.config.stash.setdefault(SERVERS, {})
    if session.config.option.collectonly:
        return
    asked = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for name, fixtures in WANTED_BY.items():
        if fixtures & asked:
            try:
                servers[name] = HubServer.start(name)
            except ServerMissingError as error:
                servers[name] = error


def pytest_unconfigure(config: pytest.Config) -> None:
    for server in config.stash.get(SERVERS, {}).values():
        if isinstance(server, HubServer):
            server.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    for name, server in item.config.stash.get(SERVERS, {}).items():
        if report.failed and isinstance(server, HubServer) and (text := server.log_text()):
            report.sections.append((f"end of the log of {name}", text[-LOG_TAIL:]))
    return report


@pytest.fixture(scope="session")
def hub_server(request: pytest.FixtureRequest) -> HubServer:
    """The one server of this test run. Tests that stop it, or count all of its events, start their own."""
    return _running(request, NEWEST)


def _running(request: pytest.FixtureRequest, name: str) -> HubServer:
    server = request.config.stash[SERVERS][name]
    if isinstance(server, ServerMissingError):
        pytest.skip(str(server))
    return server


@pytest.fixture(scope="session")
def python_server() -> Iterator[PythonServer]:
    """The test server with the same hubs, as far as it has what they need."""
    with PythonServer.start() as server:
        yield server


@pytest.fixture(scope="session", params=["aspnetcore", "aspnetcore-10", "python"])
def any_server(request: pytest.FixtureRequest) -> AnyServer:
    """ASP.NET Core, the release before, and the test server in Python: none differs but for what the docs list."""
    if request.param == "python":
        server: AnyServer = request.getfixturevalue("python_server")
        return server
    return _running(request, NEWEST if request.param == "aspnetcore" else BEFORE)


# Servers of a test's own


@attrs.frozen
class Certificates:
    """A certificate authority, and what it issued."""

    authority: trustme.CA
    server: Path
    server_key: Path

    def client_context(self, *, certificate: bool = False) -> ssl.SSLContext:
        """Return a context that trusts the authority, and with `certificate` shows a client certificate."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if certificate:
            self.authority.issue_cert("client@example.com").configure_cert(context)
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority that no machine trusts, and a certificate for 127.0.0.1."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    folder = tmp_path_factory.mktemp("certificates")
    made = Certificates(authority, folder / "server.pem", folder / "server-key.pem")
    issued.cert_chain_pems[0].write_to_path(made.server)
    issued.private_key_pem.write_to_path(made.server_key)
    return made


StartServer: TypeAlias = Callable[..., HubServer]


@pytest.fixture
def start_server(certificates: Certificates) -> Iterator[StartServer]:
    """Start a server for this test alone: `start_server(https=False)`, and what `HubServer.start` takes."""
    started: list[HubServer] = []

    def start(*, https: bool = False, **options: Any) -> HubServer:
        if https:
            options |= {"certificate": certificates.server, "key": certificates.server_key}
        try:
            server = HubServer.start(**options)
        except ServerMissingError as error:
            pytest.skip(str(error))
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def https_server(certificates: Certificates) -> Iterator[HubServer]:
    """A server with HTTPS beside HTTP."""
    yield from _tls_server(certificates, require_client_certificate=False)


@pytest.fixture(scope="session")
def client_certificate_server(certificates: Certificates) -> Iterator[HubServer]:
    """A server whose HTTPS wants a client certificate."""
    yield from _tls_server(certificates, require_client_certificate=True)


def _tls_server(certificates: Certificates, *, require_client_certificate: bool) -> Iterator[HubServer]:
    try:
        server = HubServer.start(
            certificate=certificates.server,
            key=certificates.server_key,
            require_client_certificate=require_client_certificate,
        )
    except ServerMissingError as error:
        pytest.skip(str(error))
    with server:
        yield server


# The five combinations


@attrs.frozen
class Combination:
    """A transport with a protocol that it can carry."""

    transport: Transport
    protocol: Literal["json", "messagepack"]

    @property
    def options(self) -> dict[str, Any]:
        """What `HubConnection` is to be given."""
        return {"transports": self.transport, "protocol": self.protocol}

    def __str__(self) -> str:
        return f"{self.transport}-{self.protocol}"


COMBINATIONS = (
    Combination(Transport.WEBSOCKETS, "json"),
    Combination(Transport.WEBSOCKETS, "messagepack"),
    Combination(Transport.SERVER_SENT_EVENTS, "json"),
    Combination(Transport.LONG_POLLING, "json"),
    Combination(Transport.LONG_POLLING, "messagepack"),
)


@pytest.fixture(params=COMBINATIONS, ids=str)
def combination(request: pytest.FixtureRequest) -> Combination:
    """Each transport with each protocol that it can carry."""
    chosen: Combination = request.param
    return chosen


# Classic ASP.NET SignalR: Microsoft's server, and ours, with the same hubs and the same control

BOTH = ("microsoft", "ours")


def _start_classic(kind: str, *options: str) -> ClassicServer | ClassicTwin:
    try:
        return ClassicTwin.start(*options) if kind == "ours" else ClassicServer.start(*options)
    except ServerMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=BOTH)
def running_classic_server(request: pytest.FixtureRequest) -> Iterator[ClassicServer | ClassicTwin]:
    """The one classic server of each kind in this test run. Its time limits are the shortest that Microsoft's takes."""
    with _start_classic(request.param) as server:
        yield server


@pytest.fixture
async def classic_server(
    running_classic_server: ClassicServer | ClassicTwin,
) -> AsyncIterator[ClassicServer | ClassicTwin]:
    """A classic server, without faults and with an empty log. Its faults end with the test."""
    await running_classic_server.clear()
    yield running_classic_server
    await running_classic_server.clear()


@pytest.fixture(params=BOTH)
def start_classic_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., ClassicServer | ClassicTwin]]:
    """Start a classic server for this test alone, with the options of the command line of Microsoft's program."""
    started: list[ClassicServer | ClassicTwin] = []

    def start(*options: str) -> ClassicServer | ClassicTwin:
        started.append(_start_classic(request.param, *options))
        return started[-1]

    yield start
    for server in started:
        server.close()
