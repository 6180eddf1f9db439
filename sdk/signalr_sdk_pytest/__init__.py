"""The pytest plugin of signalr_sdk: fixtures for hub servers, and for a connection to a server.

pytest imports this plugin in every test run if signalr_sdk is installed, even if no test uses it. So the plugin is a
package of its own, and imports `signalr_sdk` only when a test uses a fixture.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

    from signalr_sdk import HubConnection
    from signalr_sdk.classic import HubConnection as ClassicConnection
    from signalr_sdk.sync import HubConnection as SyncHubConnection
    from signalr_sdk.sync.classic import HubConnection as SyncClassicConnection
    from signalr_sdk.testing import ClassicHub, ClassicHubServer, Hub, HubServer

_MARKERS = (
    "signalr(hubs, **options): the hubs by path, and options of HubServer, for the fixture signalr_server",
    "signalr_classic(hubs, **options): the hubs by name, and options of the fixture signalr_classic_server",
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers `signalr` and `signalr_classic`."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.fixture
def signalr_hubs(request: pytest.FixtureRequest) -> Mapping[str, type[Hub]]:
    """The hubs of `signalr_server` by path, from the marker `signalr`. Override the fixture for other hubs."""
    hubs: Mapping[str, type[Hub]] = _marked_hubs(request, "signalr", "{'/chat': Chat}")
    return hubs


def _marked_hubs(request: pytest.FixtureRequest, name: str, example: str) -> Any:
    marker = request.node.get_closest_marker(name)
    if marker is None or not marker.args:
        raise pytest.UsageError(
            f"{name}_server needs hubs: mark the test with @pytest.mark.{name}({example}), or write a fixture "
            f"{name}_hubs that returns {example}"
        )
    return marker.args[0]


@pytest.fixture
def signalr_server_options(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """Options of `signalr_server`, from the marker `signalr`. Override the fixture for other options."""
    marker = request.node.get_closest_marker("signalr")
    return {} if marker is None else marker.kwargs


@pytest.fixture
def signalr_server(
    signalr_hubs: Mapping[str, type[Hub]], signalr_server_options: Mapping[str, Any]
) -> Iterator[HubServer]:
    """A started `HubServer` in a thread of its own."""
    from signalr_sdk.testing import HubServer  # import only here: see the docstring of the module

    with HubServer(signalr_hubs, **signalr_server_options) as server:
        yield server


@pytest.fixture
def signalr_classic_hubs(request: pytest.FixtureRequest) -> Mapping[str, type[ClassicHub]]:
    """The hubs of `signalr_classic_server` by name, from the marker `signalr_classic`. Override it for other hubs."""
    hubs: Mapping[str, type[ClassicHub]] = _marked_hubs(request, "signalr_classic", "{'Chat': Chat}")
    return hubs


@pytest.fixture
def signalr_classic_server_options(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """Options of `signalr_classic_server`, from the marker `signalr_classic`. Override it for other options."""
    marker = request.node.get_closest_marker("signalr_classic")
    return {} if marker is None else marker.kwargs


@pytest.fixture
def signalr_classic_server(
    signalr_classic_hubs: Mapping[str, type[ClassicHub]], signalr_classic_server_options: Mapping[str, Any]
) -> Iterator[ClassicHubServer]:
    """A started `ClassicHubServer` in a thread of its own."""
    from signalr_sdk.testing import ClassicHubServer  # import only here: see the docstring of the module

    with ClassicHubServer(signalr_classic_hubs, **signalr_classic_server_options) as server:
        yield server


@pytest.fixture
def signalr_connection_options() -> Mapping[str, Any]:
    """Options of `signalr_connection`; none by default. Override the fixture to set options."""
    return {}


@pytest.fixture
def signalr_connection(
    request: pytest.FixtureRequest,
    signalr_server: HubServer,
    signalr_hubs: Mapping[str, type[Hub]],
    signalr_connection_options: Mapping[str, Any],
) -> Iterator[HubConnection | SyncHubConnection]:
    """A started connection to the first hub: in an async test of `signalr_sdk`, otherwise of `signalr_sdk.sync`."""
    url = signalr_server.url(next(iter(signalr_hubs)))
    if inspect.iscoroutinefunction(request.node.obj):
        from signalr_sdk import HubConnection  # import only here, as above

        hub, test = HubConnection(url, **signalr_connection_options), request.node.obj
        request.node.obj = _within(hub, test)
        yield hub
        request.node.obj = test  # some plugins run a test again
    else:
        from signalr_sdk.sync import HubConnection as SyncHubConnection  # import only here, as above

        with SyncHubConnection(url, **signalr_connection_options) as connection:
            yield connection


@pytest.fixture
def signalr_classic_connection(
    request: pytest.FixtureRequest,
    signalr_classic_server: ClassicHubServer,
    signalr_classic_hubs: Mapping[str, type[ClassicHub]],
    signalr_connection_options: Mapping[str, Any],
) -> Iterator[ClassicConnection | SyncClassicConnection]:
    """A started connection to all hubs: in an async test of `signalr_sdk.classic`, otherwise of `sync.classic`."""
    url = signalr_classic_server.url()
    if inspect.iscoroutinefunction(request.node.obj):
        from signalr_sdk.classic import HubConnection as ClassicConnection  # import only here, as above

        connection = ClassicConnection(url, **signalr_connection_options)
        for name in signalr_classic_hubs:
            connection.hub(name)
        test = request.node.obj
        request.node.obj = _within(connection, test)
        yield connection
        request.node.obj = test  # as above
    else:
        from signalr_sdk.sync.classic import HubConnection as SyncClassicConnection  # import only here, as above

        waiting = SyncClassicConnection(url, **signalr_connection_options)
        for name in signalr_classic_hubs:
            waiting.hub(name)
        with waiting:
            yield waiting


def _within(
    hub: HubConnection | ClassicConnection, test: Callable[..., Coroutine[Any, Any, None]]
) -> Callable[..., Any]:
    """Return a test function that starts and stops the connection, because its event loop runs only inside the test."""

    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        async with hub:
            await test(*args, **kwargs)

    return run
