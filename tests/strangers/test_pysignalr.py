"""pysignalr gets from the test server what it gets from ASP.NET Core."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.strangers.running import HERE, error, run, value

from signalr_sdk import Transport

if TYPE_CHECKING:
    from tests.python_server import PythonServer

# Processes take a while to start on a machine that has much to do.
pytestmark = pytest.mark.timeout(60)

SCRIPT = HERE / "pysignalr_client.py"

EXPECTED = {
    "Add": value(3),
    "Echo": value({"a": [1, None, "x", 1.5]}),
    "Nothing": value(None),
    "Length": value(100_000),
    "BigString": value(300_000),
    "ThrowHubException": error(
        "An unexpected error occurred invoking 'ThrowHubException' on the server. HubException: boom"
    ),
    "Missing": error("Failed to invoke 'Missing' due to an error on the server. HubException: Method does not exist."),
    "send": value(None),
    "stream Counter": value([0, 1, 2, 3]),
    "stream CounterThenThrow": error(
        "after [0, 1, 2]: An error occurred on the server while streaming results. HubException: oops"
    ),
    "upload": value(None),
    "CallMe": value([1, "a", None]),
    "group": value([{"n": 1}]),
    "Flood, in order": value(True),
    "AskCaller": value("hi!"),
    "AskCaller, throwing": error("An unexpected error occurred invoking 'AskCaller' on the server. HubException: no"),
    "AskCaller, without a handler": error(
        "An unexpected error occurred invoking 'AskCaller' on the server. HubException: Client didn't provide a result."
    ),
}


@attrs.define
class PySignalR:
    """pysignalr, run once for each protocol."""

    server: PythonServer
    done: dict[str, dict[str, dict[str, Any]]] = attrs.field(factory=dict)

    def results(self, protocol: str) -> dict[str, dict[str, Any]]:
        if protocol not in self.done:
            self.done[protocol] = run(sys.executable, SCRIPT, self.server.url("/hub"), protocol)
        return self.done[protocol]


@pytest.fixture(scope="session")
def pysignalr(strangers_server: PythonServer) -> PySignalR:
    if importlib.util.find_spec("pysignalr") is None:
        pytest.skip("pysignalr is not installed: it comes with the extra `test`")
    return PySignalR(strangers_server)


@pytest.fixture(params=["json", "messagepack"])
def protocol(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.mark.parametrize("name", EXPECTED)
def test_it_gets_what_asp_net_core_answers(pysignalr: PySignalR, protocol: str, name: str) -> None:
    assert pysignalr.results(protocol)[name] == EXPECTED[name]


def test_all_that_it_prints_is_judged(pysignalr: PySignalR, protocol: str) -> None:
    assert {*pysignalr.results(protocol)} == {"connection", *EXPECTED}


async def test_the_hub_sees_what_it_did(pysignalr: PySignalR, protocol: str, strangers_server: PythonServer) -> None:
    connection_id = pysignalr.results(protocol)["connection"]["value"]
    ended = await strangers_server.wait_event("upload-ended", connection_id=connection_id)
    assert ended.detail == "completed"
    events = await strangers_server.events(connection_id=connection_id)
    assert (events[0].kind, events[0].detail) == ("connected", Transport.WEBSOCKETS)
    assert [event.detail for event in events if event.kind == "recorded"] == ["sent", "a", "b"]
