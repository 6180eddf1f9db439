"""`ClassicHubServer` as a client sees it on the wire: starting, calls, events, groups, users, the ends of connections.

What Microsoft's own clients get from the server is in tests/strangers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator  # the server evaluates the annotations of hub methods
from typing import TYPE_CHECKING, Any

import pytest
from tests.classic_server import HUBS, OtherHub, make_server
from tests.classic_wire import ClassicWire, TransportEndedError, simulated, wire
from tests.raw_client import until

from signalr_sdk import Transport, method
from signalr_sdk.testing import ClassicHub, ClassicHubServer, Hub, HubException, Progress, RawHandler, SimulatedNetwork

if TYPE_CHECKING:
    import logging

EACH = pytest.mark.parametrize("transport", list(Transport))


@pytest.fixture
async def server() -> AsyncIterator[ClassicHubServer]:
    async with make_server(keep_alive=10.0, disconnect=30.0, connection_timeout=110.0) as server:
        yield server


# Negotiating


async def test_negotiation(server: ClassicHubServer) -> None:
    async with wire(server, Transport.WEBSOCKETS, "testHub") as client:
        answer = await client.negotiate()
        token, connection_id = answer.pop("ConnectionToken"), answer.pop("ConnectionId")
    assert answer == {
        "Url": "/signalr",
        "KeepAliveTimeout": 20.0,
        "DisconnectTimeout": 30.0,
        "ConnectionTimeout": 110.0,
        "TryWebSockets": True,
        "ProtocolVersion": "2.0",
        "TransportConnectTimeout": 5.0,
        "LongPollDelay": 0.0,
    }
    assert connection_id not in token
    (negotiation,) = server.recorded.negotiations
    assert negotiation.path == "/signalr"


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("", "1.2"), ("x", "1.2"), ("1.0", "1.2"), ("1.3", "1.3"), ("1.5", "1.5"), ("2.1", "2.0"), ("9.9", "2.0")],
)
async def test_versions_of_the_protocol(server: ClassicHubServer, asked: str, answered: str) -> None:
    async with ClassicWire(server.url(), Transport.WEBSOCKETS, protocol=asked) as client:
        assert (await client.negotiate())["ProtocolVersion"] == answered


@pytest.mark.parametrize(
    ("hubs", "user", "status", "text"),
    [
        (["nohub"], None, 500, "'nohub' Hub could not be resolved."),
        (["testHub", "TESTHUB"], None, 500, "Duplicate Hub names found."),
        (["secret"], None, 401, ""),
        (["secret"], "ann", 200, None),
        ([], None, 200, None),
    ],
)
async def test_hubs_that_are_asked_for(
    server: ClassicHubServer, hubs: list[str], user: str | None, status: int, text: str | None
) -> None:
    async with wire(server, Transport.WEBSOCKETS, *hubs, user=user) as client:
        got = await client.get("negotiate")
    assert got[0] == status
    assert text is None or got[1] == text


async def test_requests_that_are_refused(server: ClassicHubServer) -> None:
    async with wire(server, Transport.SERVER_SENT_EVENTS, "testHub") as client:
        assert await client.get("connect") == (400, "Protocol error: Missing connection token.")
        assert await client.get("connect", connectionToken="nonsense") == (
            400,
            "The ConnectionId is in the incorrect format.",
        )
        assert await client.get("connect", transport="bogus") == (400, "Protocol error: Unknown transport.")
        assert await client.get("negotiate", callback="cb") == (403, "")
        assert (await client.get("nothing"))[0] == 404
        await client.negotiate()
        assert await client.get("connect", transport="webSockets") == (400, "Not a valid web socket request.")
        assert await client.get("ping") == (200, '{ "Response": "pong" }')
        assert (await client.get("negotiate", connectionData="garbage"))[0] == 500
        assert (await client.get("negotiate", connectionData='["testHub"]'))[0] == 500


@pytest.mark.parametrize(
    ("command", "query", "body"),
    [
        ("send", {}, b"\xff\xfe&data=\xff"),
        ("send", {"data": "\x00\ud7ff"}, b"data"),
        ("send", {"connectionToken": "\u00e9"}, b""),
        ("poll", {"messageId": "d-00000000-" + "A,1|" * 400, "groupsToken": "AAAA"}, b""),
        ("poll", {"messageId": "d--\\,|", "clientProtocol": "9" * 4500}, b""),
        ("negotiate", {"connectionData": "[" * 1500}, b""),
        ("negotiate", {"connectionData": '[{"name":{}},{"name":null},7]'}, b""),
        ("start", {"transport": "\u0130"}, b""),
    ],
)
async def test_hostile_requests_are_answered(
    caplog: pytest.LogCaptureFixture, command: str, query: dict[str, str], body: bytes
) -> None:
    async with make_server(connection_timeout=0.01) as server, wire(server, Transport.LONG_POLLING) as client:
        await client.start()
        url, usual, headers = client.request(command)
        async with client.session.post(url, params={**usual, **query}, headers=headers, data=body) as answer:
            await answer.read()
            assert answer.status in (200, 400, 403, 500)
        # The server lives on.
        assert (await client.get("ping"))[0] == 200
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def test_a_web_socket_message_that_is_no_text(server: ClassicHubServer) -> None:
    async with wire(server, Transport.WEBSOCKETS, "testHub") as client:
        await client.start()
        await client.next()
        assert client._web_socket is not None
        await client._web_socket.send_bytes(b'{"H":"testHub","M":"Echo","A":[1],"I":7}')
        with pytest.raises(TransportEndedError):
            await client.next()
        assert client._web_socket.close_code == 1006


async def test_names_of_hubs_may_be_written_as_the_net_client_writes_them(server: ClassicHubServer) -> None:
    async with wire(server, Transport.WEBSOCKETS) as client:
        assert (await client.get("negotiate", connectionData='[{"Name":"TESTHUB"}]'))[0] == 200


# Calls


@EACH
async def test_what_calls_are_answered(server: ClassicHubServer, transport: Transport) -> None:
    async with wire(server, transport, "testHub", "other") as client:
        await client.start()
        assert await client.call("Echo", {"a": [1, None, "é☃"]}) == {"R": {"a": [1, None, "é☃"]}, "I": "0"}
        assert await client.call("echo", 1, hub="TESTHUB", call_id="x") == {"R": 1, "I": "x"}
        assert await client.call("Echo", 1, call_id=None) == {"R": 1, "I": None}
        assert await client.call("Nothing") == {"I": "0"}
        assert await client.call("Overload", "a") == {"R": "one", "I": "0"}
        assert await client.call("Overload", "a", "b") == {"R": "two", "I": "0"}
        assert await client.call("re-named") == {"R": "renamed", "I": "0"}
        assert await client.call("Echo", "x", hub="other") == {"R": "other:x", "I": "0"}
        assert await client.call("Half", 10.5) == {"R": 5.25, "I": "0"}


@EACH
async def test_what_failed_calls_are_answered(server: ClassicHubServer, transport: Transport) -> None:
    async with wire(server, transport, "testHub") as client:
        await client.start()
        for name, arguments in {"Boom": (), "NoSuch": (), "Add": (1,), "Optional": (1,), "Secret": ()}.items():
            text = f"There was an error invoking Hub method 'testHub.{name}'."
            assert await client.call(name, *arguments) == {"I": "0", "E": text}
        assert await client.call("HubBoomPlain") == {"I": "0", "H": True, "E": "plain"}
        assert await client.call("HubBoom") == {
            "I": "0",
            "H": True,
            "E": "visible message",
            "D": {"code": 7, "why": "because"},
        }


async def test_detailed_errors() -> None:
    async with make_server(detailed_errors=True, debug=True) as server:
        async with wire(server, Transport.WEBSOCKETS, "testHub") as client:
            await client.start()
            boom = await client.call("Boom")
            unknown = await client.call("NoSuch")
            wrong = await client.call("Overload")
        assert boom["E"] == "secret boom"
        assert "in boom" in boom["T"]
        assert unknown["E"] == "'NoSuch' method could not be resolved. No method found with that name."
        assert wrong["E"].endswith("Potential candidates are: \nOverload(a)\nOverload(a, b)")


@EACH
async def test_state(server: ClassicHubServer, transport: Transport) -> None:
    async with wire(server, transport, "testHub") as client:
        await client.start()
        assert (await client.events()) == [("welcome", client.connection_id)]
        assert await client.call("State") == {"S": {"counter": 1}, "R": "c=1", "I": "0"}
        assert await client.call("State", state={"counter": 41}) == {"S": {"counter": 42}, "R": "c=42", "I": "0"}
        assert await client.call("ReadName", state={"name": "joe"}) == {"R": "joe", "I": "0"}
        assert await client.call("StateByCall") == {"S": {"colour": "green"}, "I": "0"}
        assert await client.next() == [{"H": "testHub", "M": "stateful", "A": ["x"], "S": {"colour": "green"}}]


@EACH
async def test_state_that_was_changed_before_an_error(transport: Transport) -> None:
    class Failing(ClassicHub):
        async def fail(self) -> None:
            self.clients.caller.state["step"] = 1
            raise HubException("no", {"why": 1})

        async def fail_with_nonsense(self) -> None:
            raise HubException("no", object())

    async with ClassicHubServer({"Failing": Failing}) as server, wire(server, transport, "Failing") as client:
        await client.start()
        assert await client.call("Fail") == {"S": {"step": 1}, "I": "0", "H": True, "E": "no", "D": {"why": 1}}
        if transport is Transport.WEBSOCKETS:
            await client.send('{"H":"Failing","M":"FailWithNonsense","A":[],"I":0}')
            with pytest.raises(TransportEndedError):
                await client.envelope()


@EACH
async def test_progress(server: ClassicHubServer, transport: Transport) -> None:
    async with wire(server, transport, "testHub") as client:
        await client.start()
        await client.next()
        assert await client.call("Work", 2, call_id=13) == {"R": "done", "I": "13"}
        assert await client.next(2) == [
            {"I": "P|13", "P": {"I": "13", "D": 0}},
            {"I": "P|13", "P": {"I": "13", "D": {"step": 1}}},
        ]
        # Without an id there is nobody to tell.
        assert await client.call("Work", 1, call_id=None) == {"R": "done", "I": None}
        await server.send("testHub", "after")
        assert await client.events() == [("after",)]


async def test_progress_and_events_come_before_the_result_over_web_sockets() -> None:
    class Quick(ClassicHub):
        async def run(self, progress: Progress) -> str:
            progress(1)
            await self.clients.caller.send("event")
            progress(2)
            return "done"

    async with ClassicHubServer({"Quick": Quick}) as server, wire(server, Transport.WEBSOCKETS, "Quick") as client:
        await client.start()
        await client.send('{"H":"Quick","M":"Run","A":[],"I":7}')
        items: list[Any] = []
        while "R" not in (message := await client._read()):
            items += message["M"]
        assert message == {"R": "done", "I": "7"}
        assert [item["P"]["D"] for item in items if "P" in item] == [1, 2]
        assert [item["M"] for item in items if "M" in item] == ["event"]


GARBAGE = ("garbage", "{}", "[]", '{"H":"nohub","M":"Add","A":[1,2],"I":90}', '{"H":"testHub","M":"Add","A":3}')
TOO_LONG = json.dumps({"H": "testHub", "M": "Nothing", "A": [], "I": 1, "S": {"big": "x" * 5000}})


async def test_what_is_never_answered_over_web_sockets(server: ClassicHubServer) -> None:
    async with wire(server, Transport.WEBSOCKETS, "testHub") as client:
        await client.start()
        for text in (*GARBAGE, TOO_LONG):
            await client.send(text)
        assert await client.call("Echo", "still here") == {"R": "still here", "I": "0"}


async def test_what_is_refused_over_http(server: ClassicHubServer) -> None:
    async with wire(server, Transport.SERVER_SENT_EVENTS, "testHub") as client:
        await client.start()
        for text in (*GARBAGE, TOO_LONG):
            status, _answer = await client.get("send", "POST", data=text)
            assert status == 500, text


async def test_a_result_that_cannot_be_written(server: ClassicHubServer) -> None:
    async with wire(server, Transport.WEBSOCKETS, "testHub") as client:
        await client.start()
        await client.next()
        await client.send('{"H":"testHub","M":"Circle","A":[],"I":0}')
        with pytest.raises(TransportEndedError) as raised:
            await client.envelope()
        assert raised.value.code == 1000
    async with wire(server, Transport.LONG_POLLING, "testHub") as client:
        await client.start()
        assert await client.get("send", "POST", data='{"H":"testHub","M":"Circle","A":[],"I":0}') == (200, "")


async def test_a_message_that_is_too_long_ends_the_web_socket_without_a_word() -> None:
    async with make_server(max_message=1000) as server:
        async with wire(server, Transport.WEBSOCKETS, "testHub") as client:
            await client.start()
            await client.next()
            await client.send(json.dumps({"H": "testHub", "M": "Length", "A": ["x" * 1000], "I": 0}))
            with pytest.raises(TransportEndedError) as raised:
                await client.envelope()
            assert raised.value.code is None
        async with wire(server, Transport.SERVER_SENT_EVENTS, "testHub") as client:
            await client.start()
            assert await client.call("Length", "x" * 100_000) == {"R": 100_000, "I": "0"}


# Events, users, groups


@EACH
async def test_events_of_all_kinds(server: ClassicHubServer, transport: Transport) -> None:
    async with (
        wire(server, transport, "testHub", user="ann") as one,
        wire(server, transport, "testHub", "other", user="bob") as two,
    ):
        await one.start()
        await two.start()
        await one.next()
        await two.next()
        await one.call("BroadcastAll", "all")
        await one.call("Others", "others")
        await one.call("ToUser", "bob", "bob")
        assert await one.events() == [("broadcast", "all", 1, {"x": 2})]
        assert await two.events(3) == [
            ("broadcast", "all", 1, {"x": 2}),
            ("broadcast", "others", 2, {"x": 3}),
            ("broadcast", "bob", 0, None),
        ]
        # A hub that a client has not named sends it nothing.
        await one.call("Notify", "n", hub="other")
        await one.call("CallBack", "last", [1])
        assert await one.events() == [("last", 1)]
        assert await two.events() == [("note", "n")]


@EACH
async def test_groups(server: ClassicHubServer, transport: Transport) -> None:
    async with wire(server, transport, "testHub") as client:
        await client.start()
        await client.next()
        joining = asyncio.create_task(client.get("send", "POST", data='{"H":"testHub","M":"Join","A":["g"],"I":1}'))
        envelope = await client.envelope()
        assert envelope["M"] == []
        assert envelope["G"] == client.groups_token
        assert await client.events() == [("joined", client.connection_id, "g")]
        first = client.groups_token
        await joining
        await client.call("ToGroup", "g", "in")
        assert await client.events() == [("groupMessage", "g", "in")]
        leaving = asyncio.create_task(client.get("send", "POST", data='{"H":"testHub","M":"Leave","A":["g"],"I":1}'))
        await client.envelope()
        await leaving
        assert client.groups_token not in ("", first)
        await client.call("ToGroup", "g", "out")
        await client.call("CallBack", "last", [])
        assert await client.events() == [("last",)]


async def test_joining_between_two_polls_waits_for_the_next_poll(server: ClassicHubServer) -> None:
    async with wire(server, Transport.LONG_POLLING, "testHub") as client:
        await client.start()
        await client.next()
        joining = asyncio.create_task(client.call("Join", "g"))
        await server.wait_called("testHub.Join")
        assert not joining.done()
        await client.envelope()
        assert await joining == {"I": "0"}


@EACH
async def test_who_is_in_no_group_joins_none(server: ClassicHubServer, transport: Transport) -> None:
    async with wire(server, transport, "testHub") as client:
        await client.start()
        await client.next()
        groups = server.clients("testHub").group("g")
        await groups.send("groupMessage", "g", "nobody")
        await server.send("testHub", "number", 1)
        assert await client.events() == [("number", 1)]


async def test_groups_of_who_is_gone(server: ClassicHubServer) -> None:
    async with wire(server, Transport.SERVER_SENT_EVENTS, "testHub") as client:
        await client.negotiate()
        # There is no transport, and nothing to wait for.
        assert await client.call("Join", "g") == {"I": "0"}


# Users


@pytest.mark.parametrize("command", ["connect", "start", "send", "abort"])
async def test_a_connection_belongs_to_its_user(server: ClassicHubServer, command: str) -> None:
    async with wire(server, Transport.SERVER_SENT_EVENTS, "testHub", user="ann") as client:
        await client.negotiate()
        client.user = "bob"
        status, text = await client.get(command, "POST")
        assert status == 403
        assert text.startswith("Unrecognized user identity.")


@EACH
async def test_what_a_hub_knows_of_its_caller(transport: Transport) -> None:
    async with make_server() as server:
        async with wire(server, transport, "testHub", user="ann") as client:
            await client.start()
            assert (await client.call("User"))["R"] == "ann"
            assert (await client.call("Id"))["R"] == client.connection_id
            assert (await client.call("Header", "Authorization"))["R"] == "Bearer ann"
        (call, *_others) = server.recorded.calls
        assert (call.method, call.user, call.arguments) == ("testHub.User", "ann", ())
        (connect,) = server.recorded.connects
        assert (connect.path, connect.user, connect.transport) == ("/signalr", "ann", transport)


async def test_tokens_that_are_refused() -> None:
    async with (
        make_server(authorize=lambda token: token if token == "good" else None) as server,
        wire(server, Transport.WEBSOCKETS, "testHub", user="bad") as client,
    ):
        assert await client.get("negotiate") == (401, "")
        assert await client.get("negotiate", access_token="good") == (401, "")
        client.user = None
        assert (await client.get("negotiate", access_token="good"))[0] == 200


# The life of a connection


class Watched(ClassicHub):
    """A hub that notes its life.

    Attributes:
        seen: the notes of all instances; each test makes a class of its own.
    """

    seen: list[object]

    async def on_connected(self) -> None:
        self.seen.append("connected")

    async def on_reconnected(self) -> None:
        self.seen.append("reconnected")

    async def on_disconnected(self, stop_called: bool) -> None:
        self.seen.append(stop_called)

    async def leave_note(self, key: str) -> str:
        self.context.items[key] = True
        return ",".join(self.context.items)

    async def abort(self) -> None:
        self.context.abort()


@pytest.fixture
def watched() -> type[Watched]:
    return type("Own", (Watched,), {"seen": []})


@EACH
async def test_a_client_that_stops(watched: type[Watched], transport: Transport) -> None:
    async with ClassicHubServer({"Watched": watched}) as server, wire(server, transport, "Watched") as client:
        await client.start()
        assert watched.seen == ["connected"]
        assert await client.get("abort", "POST") == (200, "")
        assert watched.seen == ["connected", True]
        if transport is Transport.LONG_POLLING:
            # A poll that comes after it waits: nothing says that the connection has ended.
            await client.open("poll")
        else:
            with pytest.raises(TransportEndedError):
                await client.envelope()
        assert (await server.wait_disconnected()).error is None


async def test_a_poll_that_is_open_when_the_client_stops(server: ClassicHubServer) -> None:
    async with wire(server, Transport.LONG_POLLING, "other") as client:
        await client.start()
        await client.open("poll")
        assert (await client.get("abort", "POST"))[0] == 200
        assert (await client.envelope())["M"] == []


@EACH
@simulated
async def test_a_client_that_stays_away(watched: type[Watched], transport: Transport) -> None:
    async with ClassicHubServer({"Watched": watched}, disconnect=4.0) as server:
        async with wire(server, transport, "Watched") as client:
            await client.start()
            if transport is not Transport.LONG_POLLING:
                await client.drop()
            disconnect = await server.wait_disconnected()
            assert disconnect.error is not None
            await client.open("reconnect")
            # The server takes it up as if it had never been away.
            await server.wait_reconnected()
            assert await client.get("abort", "POST") == (200, "")
        assert watched.seen == ["connected", False, "reconnected", True]


async def test_items_stay_with_the_connection(watched: type[Watched]) -> None:
    async with (
        ClassicHubServer({"Watched": watched}) as server,
        wire(server, Transport.WEBSOCKETS, "Watched") as client,
    ):
        await client.start()
        await client.call("LeaveNote", "a")
        await client.reconnect()
        assert (await client.call("LeaveNote", "b"))["R"] == "a,b"


async def test_a_hub_can_end_the_connection(watched: type[Watched]) -> None:
    async with (
        ClassicHubServer({"Watched": watched}) as server,
        wire(server, Transport.WEBSOCKETS, "Watched") as client,
    ):
        await client.start()
        assert await client.call("Abort") == {"I": "0"}
        with pytest.raises(TransportEndedError) as raised:
            await client.envelope()
        assert raised.value.code == 1000
        await server.wait_disconnected()


async def test_start_twice_and_not_at_all(watched: type[Watched]) -> None:
    async with ClassicHubServer({"Watched": watched}) as server:
        async with wire(server, Transport.WEBSOCKETS, "Watched") as client:
            await client.start()
            await client.get("start")
        assert watched.seen == ["connected", "connected"]
        watched.seen.clear()
        async with wire(server, Transport.WEBSOCKETS, "Watched") as client:
            await client.negotiate()
            await client.open("connect")
            assert (await client.call("LeaveNote", "a"))["R"] == "a"
            await client.get("abort", "POST")
        assert watched.seen == [True]


async def test_old_clients_send_no_start(server: ClassicHubServer) -> None:
    async with ClassicWire(server.url(), Transport.WEBSOCKETS, "testHub", protocol="1.3") as client:
        await client.negotiate()
        await client.open("connect")
        assert await client.events() == [("welcome", client.connection_id)]
        assert client.inits == 1


async def test_a_second_transport_replaces_the_first(server: ClassicHubServer) -> None:
    async with (
        wire(server, Transport.WEBSOCKETS, "testHub") as client,
        wire(server, Transport.WEBSOCKETS, "testHub") as second,
    ):
        await client.start()
        await client.next()
        await client.call("Join", "g")
        await client.next()
        second.token = client.token
        await second.open("connect")
        assert (await second.envelope())["S"] == 1
        with pytest.raises(TransportEndedError) as raised:
            await client.envelope()
        assert raised.value.code == 1000
        # It goes on from now, and is in no group.
        await second.call("ToGroup", "g", "in")
        await second.call("CallBack", "last", [])
        assert await second.events() == [("last",)]


async def test_a_hub_that_refuses_a_client(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(ClassicHub):
        async def on_connected(self) -> None:
            raise ValueError("no entry")

    async with (
        ClassicHubServer({"Refusing": Refusing}, detailed_errors=True) as server,
        wire(server, Transport.WEBSOCKETS, "Refusing") as client,
    ):
        await client.negotiate()
        await client.open("connect")
        await client.envelope()
        assert await client.get("start") == (500, "ValueError('no entry')")
    assert "/start failed" in caplog.text


async def test_users_code_that_fails_when_nobody_can_be_told(expected_errors: list[logging.LogRecord]) -> None:
    class Failing(ClassicHub):
        async def on_reconnected(self) -> None:
            raise ValueError("on_reconnected")

        async def on_disconnected(self, stop_called: bool) -> None:
            raise ValueError(f"on_disconnected({stop_called})")

    class FailingRaw(RawHandler):
        async def on_received(self, data: str) -> None:
            raise ValueError(data)

    async with ClassicHubServer({"Failing": Failing}, raw={"/raw": FailingRaw}, detailed_errors=True) as server:
        async with wire(server, Transport.WEBSOCKETS, "Failing") as client:
            await client.start()
            await client.reconnect()
            await server.wait_reconnected()
            assert await client.get("abort", "POST") == (200, "")
        async with wire(server, Transport.WEBSOCKETS, path="/raw") as client:
            await client.start()
            await client.send("over a WebSocket")
            await until(lambda: len(expected_errors) == 3)
            client.transport = Transport.LONG_POLLING
            assert await client.get("send", "POST", data="by POST") == (500, "ValueError('by POST')")
    said = [record.getMessage() for record in expected_errors]
    assert said == ["Failing.on_reconnected failed", "Failing.on_disconnected failed", "on_received failed"]


def test_joining_waits_30_seconds_for_a_poll() -> None:
    async def join(network: SimulatedNetwork) -> None:
        async with make_server() as server, wire(server, Transport.LONG_POLLING, "testHub") as client:
            await client.start()
            await client.next()
            before = network.time
            url, query, headers = client.request("send")
            call = {"data": '{"H":"testHub","M":"Join","A":["g"],"I":1}'}
            async with client.session.post(url, params=query, headers=headers, data=call) as answer:
                assert await answer.json() == {"I": "1"}
            assert 30 <= network.time - before < 31

    network = SimulatedNetwork(seed=1)
    network.run(join(network))


def test_who_reads_nothing_is_left() -> None:
    """The messages stay, for when the client comes back."""

    async def read_nothing(network: SimulatedNetwork) -> None:
        async with (
            ClassicHubServer({"Other": OtherHub}, keep_alive=None, send_timeout=5.0, connection_timeout=1e6) as server,
            wire(server, Transport.SERVER_SENT_EVENTS, "Other") as client,
        ):
            await client.start()
            network.swallow("down")
            for number in range(20):
                await server.send("Other", "note", str(number) * 10_000)
            with pytest.raises(TimeoutError):
                await client.envelope()
            await asyncio.sleep(10)
            network.restore()
            await client.reconnect()
            assert [text[:2] for _note, text in await client.events(20)][-1] == "19"

    network = SimulatedNetwork(seed=1)
    network.run(read_nothing(network))


# Signs of life


@simulated
async def test_signs_of_life() -> None:
    async with make_server(keep_alive=2.0, connection_timeout=5.0) as server:
        for transport in (Transport.WEBSOCKETS, Transport.SERVER_SENT_EVENTS):
            async with wire(server, transport, "testHub") as client:
                await client.start()
                await client.next()
                assert [await client._read() for _ in range(20)] == [{}] * 20
        async with wire(server, Transport.LONG_POLLING, "testHub") as client:
            await client.start()
            await client.next()
            url, query, headers = client.request("poll", messageId=client.cursor)
            async with client.session.post(url, params=query, headers=headers) as answer:
                text = await answer.text()
            assert text.startswith("  {")
            assert json.loads(text) == {"C": client.cursor, "M": []}


@simulated
async def test_without_signs_of_life_a_quiet_transport_ends() -> None:
    async with make_server(keep_alive=None, connection_timeout=5.0, long_poll_delay=0.2) as server:
        for transport in (Transport.WEBSOCKETS, Transport.SERVER_SENT_EVENTS):
            async with wire(server, transport, "testHub") as client:
                assert (await client.negotiate())["KeepAliveTimeout"] is None
                await client.open("connect")
                await client.envelope()
                with pytest.raises(TransportEndedError) as raised:
                    await client.envelope()
                assert raised.value.code in (1000, None)
        async with wire(server, Transport.LONG_POLLING, "testHub") as client:
            await client.negotiate()
            await client.open("connect")
            assert (await client.envelope())["L"] == 200
            assert (await client.envelope())["L"] == 200


# Connections without hubs, and the script


@EACH
async def test_raw_connections(server: ClassicHubServer, transport: Transport) -> None:
    async with wire(server, transport, path="/raw") as client:
        await client.start()
        assert await client.next() == [{"hello": client.connection_id}]
        await client.send("plain ☃")
        assert await client.next() == [{"echo": "plain ☃"}]
        sending = asyncio.create_task(client.send("join:g"))
        envelope = await client.envelope()
        await sending
        assert envelope["G"]
        await client.send("group:to the group")
        assert await client.next() == ["to the group"]
        await client.send("all:to all")
        assert await client.next() == ["to all"]
        await client.reconnect()
        assert await client.next() == ["again"]
        await client.send("group:still there")
        assert await client.next() == ["still there"]
        sending = asyncio.create_task(client.send("leave:g"))
        await client.envelope()
        await sending
        await client.send("group:no more")
        await server.raw_connections("/raw").broadcast({"I": 1})
        assert await client.next() == [{"I": 1}]
        assert (await client.get("abort", "POST"))[0] == 200


async def test_the_script_for_browsers(server: ClassicHubServer) -> None:
    async with wire(server, Transport.WEBSOCKETS) as client:
        status, script = await client.get("hubs")
        assert status == 200
        assert (await client.get("js"))[1] == script
    assert "proxies['other'] = this.createHubProxy('other');" in script
    assert "notify: function (text) {" in script
    assert '$.merge(["Notify"], $.makeArray(arguments))' in script
    assert "progress" not in script


# The server itself


def test_hubs_that_no_classic_server_can_serve() -> None:
    async def counter(self: Any) -> AsyncIterator[int]:
        yield 1

    async def same(self: Any, a: int) -> None:
        pass

    streaming = type("Streaming", (ClassicHub,), {"counter": counter})
    doubled = type("Doubled", (ClassicHub,), {"one": method("Same")(same), "two": method("Same")(same)})
    plain: Any = type("Plain", (), {})
    for hub, text in {
        streaming: r"Streaming.counter: classic SignalR has no streams",
        doubled: r"two methods Same\(a\) are the same to clients",
        plain: r"Plain must derive from ClassicHub or Hub",
    }.items():
        with pytest.raises(TypeError, match=text):
            ClassicHubServer({"Hub": hub})


async def test_a_hub_of_the_other_kind() -> None:
    """A class derived from `Hub` has a state, progress, overloads and all events of its life too."""
    happened: list[object] = []

    class Chat(Hub):
        async def on_connected(self) -> None:
            happened.append("connected")

        async def on_reconnected(self) -> None:
            happened.append("reconnected")

        async def on_disconnected(self, stop_called: Any) -> None:
            happened.append(stop_called)

        async def run(self, count: int, progress: Any) -> int:
            progress("began")
            self.clients.caller.state["count"] = count  # type: ignore[attr-defined]
            return count

    bare = type("Bare", (Hub,), {})
    async with (
        ClassicHubServer({"Chat": Chat, "Bare": bare}) as server,
        wire(server, Transport.WEBSOCKETS, "Chat", "Bare") as client,
    ):
        await client.start()
        assert await client.call("Run", 3, call_id=1) == {"S": {"count": 3}, "R": 3, "I": "1"}
        assert await client.next() == [{"I": "P|1", "P": {"I": "1", "D": "began"}}]
        await client.reconnect()
        await server.wait_reconnected()
        assert await client.get("abort", "POST") == (200, "")
    assert happened == ["connected", "reconnected", True]


async def test_what_classic_hubs_do_not_have(server: ClassicHubServer) -> None:
    clients = server.clients("testHub")
    with pytest.raises(RuntimeError, match="no client results"):
        await clients.client("x").invoke("Ask")
    with pytest.raises(RuntimeError, match="no caller outside of a hub"):
        _ = clients.caller
    with pytest.raises(RuntimeError, match="only the caller"):
        _ = clients.all.state
    with pytest.raises(KeyError):
        server.clients("nohub")


async def test_the_place_of_progress_among_the_parameters() -> None:
    class Steps(ClassicHub):
        async def run(self, progress: Progress, count: int) -> int:
            progress("began")
            return count

    async with ClassicHubServer({"Steps": Steps}) as server, wire(server, Transport.WEBSOCKETS, "Steps") as client:
        await client.start()
        assert await client.call("Run", 3, call_id=1) == {"R": 3, "I": "1"}
        assert await client.next() == [{"I": "P|1", "P": {"I": "1", "D": "began"}}]


def test_a_server_in_a_thread() -> None:
    with ClassicHubServer({"Other": OtherHub}) as server:
        server.send("Other", "note", "nobody").result()
        assert server.faults.drop() == 0
        server.faults.restart("same").result()


async def test_a_server_can_start_again() -> None:
    server = ClassicHubServer(HUBS)
    ports = set()
    for _ in range(2):
        async with server, wire(server, Transport.WEBSOCKETS, "testHub") as client:
            await client.start()
            ports.add(server.port)
            await client.next()
    assert len(ports) == 1
