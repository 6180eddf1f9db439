"""Microsoft's JavaScript client gets from the test server what it gets from ASP.NET Core."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.python_server import PATHS, make_token
from tests.strangers.running import HERE, LIMIT, error, find_node, read, run, value

from signalr_sdk import Transport
from signalr_sdk.testing import Hub, HubServer

if TYPE_CHECKING:
    from tests.python_server import PythonServer

# Processes take a while to start on a machine that has much to do.
pytestmark = pytest.mark.timeout(60)

Results = dict[str, dict[str, Any]]

SCRIPT = HERE / "javascript.cjs"
COMBINATIONS = (
    (Transport.WEBSOCKETS, "json"),
    (Transport.WEBSOCKETS, "messagepack"),
    (Transport.SERVER_SENT_EVENTS, "json"),
    (Transport.LONG_POLLING, "json"),
    (Transport.LONG_POLLING, "messagepack"),
)

UNEXPECTED = "Error: An unexpected error occurred invoking"
FAILED = "Error: Failed to invoke"
CANCELED = "Invocation canceled due to the underlying connection being closed."
PERSON = {"name": "Person 0", "age": 0, "height": 1.5, "active": True, "tags": ["a", "b"], "home": None}

INVOCATIONS = {
    "Echo [1]": value(1),
    'Echo [{"a":[1,null,"x"]}]': value({"a": [1, None, "x"]}),
    "Add [1,2]": value(3),
    "add [1,2]": value(3),
    "Nothing []": value(None),
    "ReturnNull []": value(None),
    'EchoString ["é🚀"]': value("é🚀"),
    "EchoLong [9007199254740991]": value(9007199254740991),
    "EchoDouble [1.5]": value(1.5),
    'EchoMap [{"a":1}]': value({"a": 1}),
    "EchoNullable [null]": value(None),
    "EchoBytes": value("000102ff"),
    "Length": value(100_000),
    "BigString": value(300_000),
    "send": value(7),
    "100 at once": value(True),
}
ERRORS = {
    'ThrowHubException ["boom"]': error(f"{UNEXPECTED} 'ThrowHubException' on the server. HubException: boom"),
    'ThrowException ["boom"]': error(f"{UNEXPECTED} 'ThrowException' on the server. InvalidOperationException: boom"),
    "Add [1]": error(
        f"{FAILED} 'Add' due to an error on the server. InvalidDataException: Invocation provides 1 argument(s) but "
        f"target expects 2."
    ),
    'Add [1,"x"]': error(
        f"{FAILED} 'Add' due to an error on the server. InvalidDataException: Error binding arguments. Make sure that "
        f"the types of the provided values match the types of the hub method being invoked."
    ),
    "Missing []": error(f"{FAILED} 'Missing' due to an error on the server. HubException: Method does not exist."),
    "Counter [3]": error(
        f"{FAILED} 'Counter' due to an error on the server. InvalidDataException: Invocation provides 1 argument(s) "
        f"but target expects 2."
    ),
    "plain errors": error(f"{UNEXPECTED} 'ThrowException' on the server."),
    "plain errors, HubException": error(f"{UNEXPECTED} 'ThrowHubException' on the server. HubException: shown"),
}
STREAMS = {
    "stream Counter": value([0, 1, 2, 3]),
    "stream Counter, empty": value([]),
    "stream CounterThenThrow": error(
        "Error: after [0,1,2]: An error occurred on the server while streaming results. HubException: oops"
    ),
    "stream Missing": error(
        "Error: after []: Failed to invoke 'Missing' due to an error on the server. HubException: Method does not "
        "exist."
    ),
    "stream Add": error(
        "Error: after []: The client attempted to invoke the non-streaming 'Add' method with a streaming invocation."
    ),
    "stream Forever, cancelled": value([0, 2]),
}
UPLOADS = {
    "upload Sum": value(10),
    "upload Sum, empty": value(0),
    "upload Sum, failing": error(f"{UNEXPECTED} 'Sum' on the server. HubException: client failed"),
    "upload SumFrom": value(20),
    "upload TakeThenThrow": error(f"{UNEXPECTED} 'TakeThenThrow' on the server. HubException: enough"),
    "both ways": value(["ONE", "TWO"]),
}
CLIENT_RESULTS = {
    "AskCaller": value("hi!"),
    "AskCaller, later": value("hi?"),
    "AskCaller, null": value(None),
    "AskCaller, throwing": error(f"{UNEXPECTED} 'AskCaller' on the server. HubException: Error: no"),
    "AskCaller, without a handler": error(
        f"{UNEXPECTED} 'AskCaller' on the server. HubException: Client didn't provide a result."
    ),
    "AskCallerForNumber": value(42),
    "AskClient": value("other: hi"),
    "AskClient, not there": error(
        f"{UNEXPECTED} 'AskClient' on the server. IOException: Connection 'nobody' does not exist."
    ),
}
EVENTS = {
    "CallMe": value([1, "a", None, {"b": 2.5}]),
    "Flood, in order": value([1000, True]),
    "all, others, groups": value(["hub: all", "other: all", "other: group", "other: others"]),
}
STARTS = {
    "start authorized": value("ada"),
    "start unauthorized": error(
        "Error: Failed to complete negotiation with the server: Error: Unauthorized: Status code '401'"
    ),
    "start refused": error(
        "Error: Server returned an error on close: Connection closed with an error. HubException: no entry"
    ),
    "headers": value("tea"),
}
ENDS = {
    "too large a message": value(
        "Error: Server returned an error on close: Connection closed with an error. InvalidDataException: The maximum "
        "message size of 1024B was exceeded. The message size can be configured in AddHubOptions."
    ),
    "AbortMe": value({"call": f"Error: {CANCELED}", "end": None, "state": "Disconnected"}),
    "stop": value({"pending": f"Error: after [0]: {CANCELED}", "end": None, "state": "Disconnected"}),
    "a call after stop": error("Error: Cannot send data if the connection is not in the 'Connected' State."),
    "start again": value(3),
}
ALIKE = {**INVOCATIONS, **ERRORS, **STREAMS, **UPLOADS, **CLIENT_RESULTS, **EVENTS, **STARTS, **ENDS}


def pascal_case(members: dict[str, Any]) -> dict[str, Any]:
    return {name.capitalize(): member for name, member in members.items()}


def particular(transport: Transport, protocol: str) -> Results:
    """Return what depends on the combination."""
    binary = protocol == "messagepack"
    person = {**PERSON, "born": "1970-01-01T00:00:00.000Z" if binary else "1970-01-01T00:00:00Z"}
    refused = f"The protocol '{protocol}' is not supported."
    return {
        "Transport []": value(str(transport)),
        "stream People": value([pascal_case(person) if binary else person]),
        "start with another protocol": error(f"Error: Server returned handshake error: {refused}"),
    }


@attrs.define
class JavaScript:
    """Microsoft's client, run once for each combination."""

    server: PythonServer
    node: str
    done: dict[tuple[str, str], Results] = attrs.field(factory=dict)

    def results(self, transport: Transport, protocol: str) -> Results:
        key = (transport, protocol)
        if key not in self.done:
            options = {
                "urls": {path: self.server.url(path) for path in PATHS},
                "transport": transport,
                "protocol": protocol,
                "token": make_token("ada"),
            }
            self.done[key] = run(self.node, SCRIPT, json.dumps(options))
        return self.done[key]


@pytest.fixture(scope="session")
def javascript(strangers_server: PythonServer) -> JavaScript:
    return JavaScript(strangers_server, find_node())


@pytest.fixture(params=COMBINATIONS, ids="-".join)
def combination(request: pytest.FixtureRequest) -> tuple[Transport, str]:
    chosen: tuple[Transport, str] = request.param
    return chosen


@pytest.mark.parametrize("name", [*ALIKE, *particular(Transport.WEBSOCKETS, "json")])
def test_it_gets_what_asp_net_core_answers(
    javascript: JavaScript, combination: tuple[Transport, str], name: str
) -> None:
    expected = {**ALIKE, **particular(*combination)}
    assert javascript.results(*combination)[name] == expected[name]


def test_all_that_it_prints_is_judged(javascript: JavaScript, combination: tuple[Transport, str]) -> None:
    assert {*javascript.results(*combination)} == {"connection", *ALIKE, *particular(*combination)}


async def test_the_hub_sees_what_it_did(
    javascript: JavaScript, combination: tuple[Transport, str], strangers_server: PythonServer
) -> None:
    connection_id = javascript.results(*combination)["connection"]["value"]
    events = [(event.kind, event.detail) for event in await strangers_server.events(connection_id=connection_id)]
    # The first stream was cancelled by the client, the second ended with the connection.
    assert events == [
        ("connected", combination[0]),
        ("recorded", "sent"),
        ("stream-ended", "cancelled"),
        ("disconnected", None),
        ("stream-ended", "cancelled"),
    ]


class Adding(Hub):
    """Enough to see that the client is connected."""

    async def add(self, a: int, b: int) -> int:
        return a + b


def start_waiting(url: str, transport: Transport, protocol: str) -> subprocess.Popen[str]:
    options = {"wait": True, "urls": {"/hub": url}, "transport": transport, "protocol": protocol}
    command = [find_node(), str(SCRIPT), json.dumps(options)]
    return subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)
def test_it_sees_the_server_stop(transport: Transport, protocol: str) -> None:
    with ExitStack() as running:
        server = running.enter_context(HubServer({"/hub": Adding}))
        client = start_waiting(server.url("/hub"), transport, protocol)
        with client:
            assert client.stdout is not None
            connected = read(client.stdout.readline())
            running.close()
            rest, complaints = client.communicate(timeout=LIMIT)
    assert connected == {"connected": value(3)}, complaints
    assert client.returncode == 0, complaints
    # Between two polls there is nobody to say goodbye to.
    if transport != Transport.LONG_POLLING:
        assert read(rest) == {"closed": value(None)}
    else:
        assert [*read(rest)] == ["closed"]
