"""The log: what each record says of its connection, and what no record ever says."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Literal

import pytest
from tests.log_capture import LOGGERS, Log, logged

from signalr_sdk import ConnectionFailedError, HubConnection, Retry, Transport
from signalr_sdk.interfaces import HttpResponse
from signalr_sdk.testing import Hub, HubServer

SECRETS = {
    "token": "token-7c1f",
    "query": "query-51ab",
    "header": "header-90de",
    "cookie": "cookie-2b77",
    "refused token": "refused-8842",
}
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.scripted import ScriptedServer

COMBINATIONS: list[tuple[Transport, Literal["json", "messagepack"]]] = [
    (Transport.WEBSOCKETS, "json"),
    (Transport.WEBSOCKETS, "messagepack"),
    (Transport.SERVER_SENT_EVENTS, "json"),
    (Transport.LONG_POLLING, "json"),
    (Transport.LONG_POLLING, "messagepack"),
]


@pytest.fixture
def log() -> Iterator[Log]:
    """What the client says, down to DEBUG."""
    with logged() as log:
        yield log


class LoggedHub(Hub):
    """A hub."""

    async def long(self, length: int) -> str:
        return "x" * length

    async def tell(self, name: str) -> None:
        await self.clients.caller.send(name, 1)

    async def abort(self) -> None:
        self.context.abort()


def authorize(token: str | None) -> str | None:
    return "somebody" if token == SECRETS["token"] else None


@pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)
@pytest.mark.parametrize("where", ["header", "query"])
async def test_no_record_has_a_secret_and_each_says_whose_it_is(
    transport: Transport,
    protocol: Literal["json", "messagepack"],
    where: Literal["header", "query"],
    log: Log,
    expected_errors: list[logging.LogRecord],
) -> None:
    tokens = chain([SECRETS["token"]], repeat(SECRETS["refused token"]))
    failed = asyncio.Event()
    async with HubServer({"/hub": LoggedHub}, authorize=authorize) as server:
        url = server.url("/hub")
        hub = HubConnection(
            f"{url}?tenant={SECRETS['query']}",
            transports=transport,
            protocol=protocol,
            access_token=lambda: next(tokens),
            access_token_in=where,
            headers={"X-Key": SECRETS["header"]},
            cookies={"session": SECRETS["cookie"]},
            reconnect=False,
        )
        hub.on_error(lambda _error: failed.set())

        @hub.on("fails")
        def fails(_number: int) -> None:
            raise RuntimeError("it does")

        async with hub:
            connection_id = hub.connection_id
            await hub.invoke("Long", 5000)
            await hub.invoke("Tell", "unknown")
            await hub.invoke("Tell", "fails")
            await failed.wait()
            await hub.send("Abort")
            await hub.wait_closed()
        with pytest.raises(ConnectionFailedError):
            await hub.start()
    assert len(expected_errors) == 1
    names = {record.name.removeprefix("signalr_sdk.") for record in log.records}
    assert names == {*LOGGERS}
    assert {vars(record)["hub"] for record in log.records} == {url}
    facts = {(vars(record)["connection_id"], vars(record)["transport"]) for record in log.records}
    assert (connection_id, transport) in facts
    assert facts >= {(None, None)}
    for name, secret in SECRETS.items():
        assert log.having(secret) == [], name
    assert log.having("access_token", "id=", "tenant") == []


async def test_payloads_are_cut_and_lifecycle_has_its_levels(log: Log) -> None:
    async with HubServer({"/hub": LoggedHub}) as server, HubConnection(server.url("/hub")) as hub:
        connection_id = hub.connection_id
        await hub.invoke("Long", 5000)
    wire = [record.getMessage() for record in log.records if record.name == "signalr_sdk.transport"]
    assert any(text.startswith("sending ") for text in wire)
    assert max(len(text) for text in wire) <= len("received 5000 bytes: ") + 110
    said = [(record.levelname, record.getMessage()) for record in log.records if record.levelno >= logging.INFO]
    assert said == [
        ("INFO", f"connected to {server.url('/hub')} over WebSockets ({connection_id})"),
        ("INFO", "stopped"),
    ]
    connected = next(record for record in log.records if record.levelno == logging.INFO)
    assert (vars(connected)["connection_id"], vars(connected)["transport"]) == (connection_id, "WebSockets")
    assert (connected.funcName, connected.module) == ("_go_live", "supervisor")


async def test_the_wire_begins_with_the_handshake(log: Log) -> None:
    for offered in (True, False):
        async with (
            HubServer({"/hub": LoggedHub}, stateful_reconnect=offered) as server,
            HubConnection(server.url("/hub"), stateful_reconnect=True),
        ):
            pass
    wire = [record.getMessage() for record in log.records if record.name == "signalr_sdk.transport"]
    handshakes = [text.partition(": ")[2] for text in wire if "protocol" in text]
    assert handshakes == [rf"""b'{{"protocol":"json","version":{version}}}\x1e'""" for version in (2, 1)]


async def test_two_connections_are_told_apart(log: Log) -> None:
    async with (
        HubServer({"/a": LoggedHub, "/b": LoggedHub}) as server,
        HubConnection(server.url("/a")) as a,
        HubConnection(server.url("/b"), transports="LongPolling") as b,
    ):
        await asyncio.gather(a.invoke("Long", 1), b.invoke("Long", 1))
        ids = {a.connection_id: server.url("/a"), b.connection_id: server.url("/b")}
    wire = [vars(record) for record in log.records if record.name == "signalr_sdk.transport"]
    assert {record["connection_id"] for record in wire} == ids.keys()
    for record in wire:
        assert record["hub"] == ids[record["connection_id"]]
        assert record["transport"] == ("WebSockets" if record["hub"].endswith("/a") else "LongPolling")


async def test_a_level_that_is_off_makes_no_record(caplog: pytest.LogCaptureFixture) -> None:
    made: list[str] = []

    class Counting(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            made.append(record.getMessage())
            return True

    counting = Counting()
    loggers = [logging.getLogger(f"signalr_sdk.{name}") for name in LOGGERS]
    for logger in loggers:
        caplog.set_level(logging.WARNING, logger.name)
        logger.addFilter(counting)
    try:
        async with HubServer({"/hub": LoggedHub}) as server, HubConnection(server.url("/hub")) as hub:
            await hub.invoke("Long", 5)
    finally:
        for logger in loggers:
            logger.removeFilter(counting)
    assert made == []


async def test_a_record_goes_into_json_as_it_is(log: Log) -> None:
    async with HubServer({"/hub": LoggedHub}) as server, HubConnection(server.url("/hub")):
        pass
    stream = io.StringIO()
    for record in log.records:
        facts: dict[str, Any] = {name: vars(record)[name] for name in ("hub", "connection_id", "transport")}
        json.dump(facts, stream)
    assert '"transport": "WebSockets"' in stream.getvalue()


async def test_an_attempt_that_a_start_would_not_repeat_is_logged_louder(server: ScriptedServer, log: Log) -> None:
    hub = server.hub(reconnect=Retry.delays(0, 0, 0))
    socket = await server.accept(hub)
    answers = iter([HttpResponse(404), HttpResponse(503), server.negotiate()])
    server.negotiate = lambda: next(answers)
    again = asyncio.Event()
    hub.on_reconnected(lambda _connection_id: again.set())
    socket.vanish()
    await (await server.sockets.get()).shake_hands()
    await again.wait()
    await hub.stop()
    attempts = [
        (record.levelname, record.getMessage().partition(",")[0])
        for record in log.records
        if record.getMessage().startswith("attempt")
    ]
    assert attempts == [("WARNING", "attempt 1 failed"), ("INFO", "attempt 2 failed")]
