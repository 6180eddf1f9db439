"""The faults of `ClassicHubServer`, and what a client that comes back after one gets."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.classic_server import add_other_paths, control_port, make_server
from tests.classic_wire import ClassicWire, TransportEndedError, simulated, wire
from tests.raw_client import until

from signalr_sdk import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from signalr_sdk.testing import ClassicHubServer

EACH = pytest.mark.parametrize("transport", list(Transport))
ENDS = (TransportEndedError, aiohttp.ClientError)


@pytest.fixture
async def server() -> AsyncIterator[ClassicHubServer]:
    async with make_server(keep_alive=10.0, disconnect=30.0, connection_timeout=110.0) as server:
        yield server


async def in_a_group(client: ClassicWire) -> None:
    """Start, and join the group `g`."""
    await client.start()
    await client.next()
    joining = asyncio.create_task(client.get("send", "POST", data='{"H":"testHub","M":"Join","A":["g"],"I":1}'))
    await client.next()
    await joining


async def numbers(server: ClassicHubServer, first: int, last: int) -> None:
    for number in range(first, last + 1):
        await server.send("testHub", "number", number)


def sorted_by_kind(messages: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the arguments of events by name: a server keeps the order of each topic, not that of several topics."""
    kinds: dict[str, list[Any]] = {}
    for message in messages:
        kinds.setdefault(message["M"], []).append(message["A"][-1])
    return kinds


async def lose(server: ClassicHubServer, client: ClassicWire, how: Any) -> None:
    """End the transport, and wait until the client has noticed."""
    if client.transport is Transport.LONG_POLLING:
        await client.open("poll")
    await until(lambda: server.faults.drop(how, transport=client.transport))
    with pytest.raises(ENDS):
        await client.envelope()


async def to_the_end(client: ClassicWire) -> list[dict[str, Any]]:
    """Read envelopes until the transport ends."""
    envelopes: list[dict[str, Any]] = []
    with pytest.raises(ENDS):
        await _gather(client, envelopes)
    return envelopes


async def _gather(client: ClassicWire, envelopes: list[dict[str, Any]]) -> None:
    while True:
        envelopes.append(await client.envelope())


@EACH
@pytest.mark.parametrize("how", ["reset", "fin", "close"])
async def test_what_was_sent_meanwhile_comes_once(server: ClassicHubServer, transport: Transport, how: str) -> None:
    async with wire(server, transport, "testHub") as client:
        await in_a_group(client)
        await numbers(server, 1, 2)
        assert len(await client.next(2)) == 2
        for loss in range(1, 4):
            await lose(server, client, how)
            await numbers(server, 10 * loss, 10 * loss + 4)
            await server.clients("testHub").group("g").send("groupMessage", "g", loss)
            await client.reconnect()
            assert sorted_by_kind(await client.next(7)) == {
                "number": [10 * loss + index for index in range(5)],
                "groupMessage": [loss],
                "welcomeBack": [client.connection_id],
            }
        await server.send("testHub", "number", 99)
        assert await client.events() == [("number", 99)]
        assert len(server.recorded.connects) == 1
        assert len(server.recorded.reconnects) == 3
        assert client.inits == 1


@EACH
async def test_an_older_cursor_brings_messages_again(server: ClassicHubServer, transport: Transport) -> None:
    async with wire(server, transport, "other") as client:
        await client.start()
        cursor = client.cursor
        await client.call("Notify", "one")
        await client.events()
        await client.reconnect(messageId=cursor)
        assert await client.events() == [("note", "one")]


@EACH
@pytest.mark.parametrize("cursor", ["garbage", "d-00000000-B,0"])
async def test_an_unknown_cursor_means_from_now(server: ClassicHubServer, transport: Transport, cursor: str) -> None:
    async with wire(server, transport, "other") as client:
        await client.start()
        await client.call("Notify", "one")
        await client.events()
        await client.reconnect(messageId=cursor)
        await client.call("Notify", "two")
        assert await client.events() == [("note", "two")]


async def test_who_is_too_far_behind_loses_the_oldest_without_a_word() -> None:
    async with make_server(message_buffer=3) as server, wire(server, Transport.LONG_POLLING, "other") as client:
        await client.start()
        for number in range(10):
            await client.call("Notify", str(number))
        assert await client.events(3) == [("note", "7"), ("note", "8"), ("note", "9")]


@simulated
async def test_messages_stay_when_the_hubs_were_told_that_the_client_is_gone() -> None:
    async with make_server(disconnect=4.0) as server, wire(server, Transport.WEBSOCKETS, "testHub") as client:
        await client.start()
        await client.next()
        server.faults.drop()
        await server.wait_disconnected()
        await numbers(server, 1, 2)
        await client.reconnect()
        assert sorted_by_kind(await client.next(3))["number"] == [1, 2]


# The end of the server


@EACH
async def test_a_restart_with_the_same_keys(server: ClassicHubServer, transport: Transport) -> None:
    async with wire(server, transport, "testHub") as client:
        await in_a_group(client)
        before = client.cursor
        await server.faults.restart("same")
        await numbers(server, 1, 1)
        await client.reconnect()
        assert await client.events() == [("welcomeBack", client.connection_id)]
        assert client.cursor[:11] != before[:11]
        await server.clients("testHub").group("g").send("groupMessage", "g", "after")
        assert await client.events() == [("groupMessage", "g", "after")]


@EACH
async def test_a_restart_with_new_keys(server: ClassicHubServer, transport: Transport) -> None:
    async with wire(server, transport, "testHub") as client:
        await client.start()
        await server.faults.restart()
        answer = (400, "The ConnectionId is in the incorrect format.")
        assert await client.get("reconnect", transport="serverSentEvents") == answer
        assert await client.get("abort", "POST") == answer
        assert await client.get("send", "POST", data="{}") == answer


async def test_a_groups_token_of_another_connection_counts_for_nothing(server: ClassicHubServer) -> None:
    async with (
        wire(server, Transport.WEBSOCKETS, "testHub") as one,
        wire(server, Transport.WEBSOCKETS, "testHub") as two,
    ):
        await in_a_group(one)
        await two.start()
        await two.next()
        for token in (one.groups_token, "garbage", one.token):
            await two.reconnect(groupsToken=token)
            assert await two.events() == [("welcomeBack", two.connection_id)]
            await server.clients("testHub").group("g").send("groupMessage", "g", "in")
            await server.send("testHub", "number", 1)
            assert await two.events() == [("number", 1)]


async def restart(server: ClassicHubServer) -> None:
    await server.faults.restart("same", down=20.0)


@simulated
async def test_a_restart_refuses_connections_for_a_while() -> None:
    async with make_server() as server, wire(server, Transport.WEBSOCKETS, "testHub") as client:
        await client.start()
        down = asyncio.create_task(restart(server))
        await to_the_end(client)
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get("ping")
        await down
        assert (await client.get("ping"))[0] == 200


@EACH
async def test_the_end_of_the_application(server: ClassicHubServer, transport: Transport) -> None:
    async with wire(server, transport, "testHub") as client:
        await client.start()
        await client.next()
        if transport is Transport.LONG_POLLING:
            await client.open("poll")
            server.faults.shut_down()
            assert (await client.envelope())["T"] == 1
        else:
            server.faults.shut_down()
            with pytest.raises(TransportEndedError) as raised:
                await client.envelope()
            assert raised.value.code == (1000 if transport is Transport.WEBSOCKETS else None)
        await client.reconnect()
        assert await client.events() == [("welcomeBack", client.connection_id)]
    assert server.recorded.disconnects == []


async def test_the_end_of_the_application_between_two_polls(server: ClassicHubServer) -> None:
    async with wire(server, Transport.LONG_POLLING, "testHub") as client:
        await client.start()
        await client.next()
        server.faults.shut_down()
        assert (await client.envelope())["T"] == 1
        await client.reconnect()
        assert await client.events() == [("welcomeBack", client.connection_id)]


@EACH
async def test_the_server_stops(transport: Transport) -> None:
    async with make_server() as server:
        client = await wire(server, transport, "testHub").start()
        await client.next()
    async with client:
        assert all(envelope["T"] for envelope in await to_the_end(client))


# Faults that stay


@EACH
async def test_silence(server: ClassicHubServer, transport: Transport) -> None:
    async with wire(server, transport, "testHub") as client:
        await client.start()
        await client.next()
        if transport is Transport.LONG_POLLING:
            await client.open("poll")
        with server.faults.silence() as fault:
            await numbers(server, 1, 3)
            await until(lambda: fault.happened)
            reading = asyncio.create_task(client.envelope())
            await asyncio.sleep(0.05)
            assert not reading.done()
            reading.cancel()
        # The cursor has not moved, so that nothing is lost.
        await client.reconnect()
        assert sorted_by_kind(await client.next(4))["number"] == [1, 2, 3]


@simulated
async def test_silence_of_the_signs_of_life_only() -> None:
    async with make_server(keep_alive=2.0) as server, wire(server, Transport.WEBSOCKETS, "testHub") as client:
        await client.start()
        await client.next()
        with server.faults.silence(keep_alive_only=True, transport="webSockets") as fault:
            await asyncio.sleep(7)
            assert fault.happened == 3
            await numbers(server, 1, 1)
            while not (envelope := await client._read()):
                pass
            assert envelope["M"][0]["A"] == [1]
        assert await client._read() == {}
        with server.faults.silence(keep_alive_only=True, transport="LongPolling") as fault:
            assert [await client._read() for _ in range(3)] == [{}] * 3
        assert fault.happened == 0


async def test_refused_connections(server: ClassicHubServer) -> None:
    async with wire(server, Transport.WEBSOCKETS, "testHub") as client:
        await client.start()
        await client.next()
        with server.faults.refuse():
            with pytest.raises(ENDS):
                await client.envelope()
            with pytest.raises(aiohttp.ClientConnectorError):
                await client.get("ping")
        await client.reconnect()
        assert await client.events() == [("welcomeBack", client.connection_id)]


async def test_answers_in_place_of_the_server(server: ClassicHubServer) -> None:
    async with wire(server, Transport.SERVER_SENT_EVENTS, "testHub") as client:
        await client.negotiate()
        fault = server.faults.answer("ping", 401)
        assert await client.get("ping") == (401, "")
        assert (await client.get("ping"))[0] == 200
        assert fault.happened == 1
        with server.faults.answer(["start", "send"], 503, "later", times=None, transport="serverSentEvents"):
            assert await client.get("start") == (503, "later")
            assert await client.get("send") == (503, "later")
            assert (await client.get("start", transport="longPolling"))[0] == 200
        server.faults.answer("start", 200, '{ "Response": "stopped" }', content_type="application/json")
        server.faults.answer("start", 500, headers={"X-Why": "no"})
        server.faults.clear()
        assert (await client.get("start"))[0] == 200


async def test_requests_that_are_hung_up(server: ClassicHubServer) -> None:
    async with wire(server, Transport.SERVER_SENT_EVENTS, "testHub") as client:
        await client.negotiate()
        _ = server.faults.hang_up("send")
        with pytest.raises(aiohttp.ClientError):
            await client.call("Nothing")
        assert await client.call("Nothing") == {"I": "0"}


async def test_requests_that_are_held(server: ClassicHubServer) -> None:
    async with wire(server, Transport.SERVER_SENT_EVENTS, "testHub") as client:
        await client.negotiate()
        with server.faults.hang("start") as fault:
            starting = asyncio.create_task(client.get("start"))
            await until(lambda: fault.happened)
            assert (await client.get("ping"))[0] == 200
            assert not starting.done()
        assert (await starting)[0] == 200
        loop = asyncio.get_running_loop()
        before = loop.time()
        server.faults.delay("ping", 0.1)
        await client.get("ping")
        assert loop.time() - before >= 0.09  # the clock of uvloop has milliseconds


@EACH
async def test_what_is_sent_past_the_server(server: ClassicHubServer, transport: Transport) -> None:
    async with wire(server, transport, "testHub") as client:
        await client.start()
        await client.next()
        if transport is Transport.LONG_POLLING:
            await client.open("poll")
        assert server.faults.end("go away") == 1
        assert await client.envelope() == {"E": "go away"}
        if transport is Transport.LONG_POLLING:
            await client.open("poll")
        assert server.faults.push('{"unknown":1}') == 1
        assert server.faults.push("nonsense", transport=transport) >= 0
        assert await client.envelope() == {"unknown": 1}


async def test_what_is_sent_past_the_server_between_two_polls(server: ClassicHubServer) -> None:
    async with wire(server, Transport.LONG_POLLING, "testHub") as client:
        await client.start()
        await client.next()
        assert server.faults.drop() == 0
        assert server.faults.push('{"unknown":1}', transport="webSockets") == 0
        assert server.faults.push('{"unknown":1}') == 1
        assert server.faults.end("go away") == 1
        assert await client.envelope() == {"unknown": 1}
        assert await client.envelope() == {"E": "go away"}


async def test_faults_of_one_connection(server: ClassicHubServer) -> None:
    async with (
        wire(server, Transport.WEBSOCKETS, "testHub") as one,
        wire(server, Transport.SERVER_SENT_EVENTS, "testHub") as two,
    ):
        await one.start()
        await two.start()
        await one.next()
        await two.next()
        assert server.faults.push('{"to":"one"}', connection_id=one.connection_id) == 1
        assert server.faults.end("to two", connection_id=two.connection_id) == 1
        assert (await one.envelope(), await two.envelope()) == ({"to": "one"}, {"E": "to two"})
        with server.faults.silence(connection_id=one.connection_id):
            await numbers(server, 1, 1)
            assert await two.events() == [("number", 1)]
        assert server.faults.drop(connection_id=two.connection_id) == 1
        assert server.faults.drop(connection_id="nobody") == 0
        with pytest.raises(ENDS):
            await two.envelope()
        # The event that was discarded does not come again over the same transport.
        assert await one.call("Add", 1, 2) == {"R": 3, "I": "0"}


async def test_redirects(server: ClassicHubServer) -> None:
    add_other_paths(server)
    async with wire(server, Transport.WEBSOCKETS, "testHub", path="/redirect") as client:
        assert await client.negotiate() == {
            "ProtocolVersion": "2.0",
            "RedirectUrl": f"{server.url()}?asrs=1",
            "AccessToken": "redirect-token",
        }
    async with wire(server, Transport.WEBSOCKETS, "testHub", path="/moved") as client:
        assert (await client.negotiate())["Url"] == "/signalr"
    async with wire(server, Transport.WEBSOCKETS, "testHub", path="/error") as client:
        assert await client.negotiate() == {"ProtocolVersion": "2.0", "Error": "go away"}
        assert (await client.get("connect"))[0] == 404


async def test_wrong_arguments(server: ClassicHubServer) -> None:
    faults: Any = server.faults
    calls: dict[Callable[[], object], str] = {
        lambda: faults.drop("gently"): "how must be",
        lambda: faults.drop(transport="pigeons"): "there is no transport 'pigeons'",
        lambda: faults.restart("old"): "keys must be",
        lambda: faults.hang("nothing"): "no such place for this fault: nothing",
        lambda: faults.answer("ping", 200, times=0): "times must be at least 1",
    }
    for wrong, text in calls.items():
        with pytest.raises(ValueError, match=text):
            wrong()


async def test_the_control_port(server: ClassicHubServer) -> None:
    async with (
        control_port(server) as control,
        wire(server, Transport.WEBSOCKETS, "testHub") as client,
        aiohttp.ClientSession(control) as session,
    ):
        await in_a_group(client)
        await session.post("/broadcast", params={"method": "number"}, data=json.dumps([1]))
        await session.post("/broadcast", params={"method": "groupMessage", "group": "g"}, data='["g","x"]')
        assert await client.events(2) == [("number", 1), ("groupMessage", "g", "x")]
        async with session.post("/drop", params={"how": "reset"}) as answer:
            assert await answer.json() == 1
