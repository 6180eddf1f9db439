"""Texts of the server: raw in the attributes of errors, short and on one line in their texts and in the log."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from tests.log_capture import logged
from tests.scripted import NEGOTIATED, ScriptedServer, question

from signalr_sdk import ConnectionClosedError, ConnectionFailedError, HandshakeError, HubError, ResultTypeError
from signalr_sdk._receiving import dispatcher
from signalr_sdk.interfaces import HttpResponse

if TYPE_CHECKING:
    import logging

HOSTILE = "boom\n2026-01-01 CRITICAL forged\r\x1b[31m\x9b2J\u202e\u2028 " + "x" * 200_000


def check(text: str) -> None:
    assert text.isprintable()
    assert len(text) < 1000


async def test_the_error_of_a_close_message(server: ScriptedServer) -> None:
    with logged() as log:
        hub = server.hub()
        socket = await server.accept(hub)
        call = asyncio.create_task(hub.invoke("Work"))
        await socket.next()
        socket.say({"type": 7, "error": HOSTILE})
        with pytest.raises(ConnectionClosedError) as closed:
            await hub.wait_closed()
        with pytest.raises(ConnectionClosedError) as lost:
            await call
    for error in (closed.value, lost.value):
        check(str(error))
        assert "boom 2026-01-01 CRITICAL forged" in str(error)
        assert error.reason == HOSTILE
    for record in log.records:
        check(record.getMessage())


async def test_a_close_message_in_the_handshake(server: ScriptedServer) -> None:
    hub = server.hub()
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    await socket.shake_hands({"type": 7, "error": HOSTILE})
    with pytest.raises(HandshakeError) as caught:
        await start
    check(str(caught.value))


async def test_a_hub_error_is_raw_for_the_caller_and_safe_in_the_log(
    server: ScriptedServer, expected_errors: list[logging.LogRecord]
) -> None:
    with logged() as log:
        hub = server.hub()
        socket = await server.accept(hub)
        told: asyncio.Queue[Exception] = asyncio.Queue()
        hub.on_error(told.put_nowait)

        @hub.on("Relay")
        async def relay() -> None:
            await hub.invoke("Work")

        socket.event("Relay")
        socket.fail(await socket.next(), HOSTILE)
        error = await told.get()
        await hub.stop()
    assert isinstance(error, HubError)
    assert str(error) == HOSTILE
    for record in log.records:
        check(record.getMessage())
        check((record.exc_text or "").replace("\n", " ")[-900:])
        assert "\n2026-01-01" not in log.format(record)


async def test_names_of_events_and_questions(server: ScriptedServer, expected_errors: list[logging.LogRecord]) -> None:
    with logged() as log:
        hub = server.hub()
        socket = await server.accept(hub)
        hub.on(HOSTILE, lambda: 1 / 0)
        socket.event(HOSTILE)
        socket.event("unknown" + HOSTILE)
        socket.say(question("7", HOSTILE))
        await socket.next()
        await socket.all_read()
        await hub.stop()
    assert len(log.records) > 2
    for record in log.records:
        check(record.getMessage())


async def test_names_of_unknown_events_are_not_kept_whole(server: ScriptedServer) -> None:
    with logged() as log:
        hub = server.hub()
        socket = await server.accept(hub)
        for number in range(3):
            socket.event(f"{number}" + "x" * 1_000_000)
            socket.event(f"{number}" + "x" * 1_000_000)
        socket.event("last")
        await hub.wait_for("last", timeout=5)
        kept = [name for each in _dispatchers() for name in each._unknown]
        await hub.stop()
    assert kept
    assert max(map(len, kept)) <= 100
    warnings = [record for record in log.records if "no handler" in record.getMessage()]
    assert len(warnings) == 3


def _dispatchers() -> list[dispatcher.Dispatcher]:
    import gc

    return [each for each in gc.get_objects() if type(each) is dispatcher.Dispatcher]


async def test_what_negotiate_answers(server: ScriptedServer) -> None:
    offers = [{"transport": HOSTILE, "transferFormats": [HOSTILE]}]
    bodies = (
        {**NEGOTIATED, "availableTransports": offers},
        {"error": HOSTILE},
        {"url": HOSTILE},
        {"url": "http://" + "x" * 5000 + "/hub"},
        {"url": "http://hub.test/" + "x" * 5000, "accessToken": HOSTILE},
    )
    for body in bodies:
        answer = HttpResponse(200, (), json.dumps(body).encode())
        server.negotiate = lambda answer=answer: answer  # type: ignore[misc]
        with logged() as log, pytest.raises(ConnectionFailedError) as caught:
            await server.hub().start()
        check(str(caught.value).replace("\n", " "))
        for record in log.records:
            check(record.getMessage())
    for status in (302, 404, 500):
        hostile = HttpResponse(status, (("Location", HOSTILE), ("Content-Type", "text/plain")), HOSTILE.encode())
        server.negotiate = lambda answer=hostile: answer  # type: ignore[misc]
        with pytest.raises(ConnectionFailedError) as caught:
            await server.hub().start()
        check(str(caught.value))


async def test_a_long_url_of_a_redirect_is_cut_in_the_text_of_an_error(server: ScriptedServer) -> None:
    redirect = HttpResponse(200, (), json.dumps({"url": "http://hub.test/" + "x" * 5000}).encode())
    answers = iter([redirect, HttpResponse(404)])
    server.negotiate = lambda: next(answers)
    with pytest.raises(ConnectionFailedError) as caught:
        await server.hub().start()
    check(str(caught.value))


async def test_the_connection_id_is_raw_for_the_user_and_safe_in_the_log(server: ScriptedServer) -> None:
    answer = HttpResponse(200, (), json.dumps({**NEGOTIATED, "connectionId": HOSTILE}).encode())
    server.negotiate = lambda: answer
    with logged() as log:
        hub = server.hub()
        await server.accept(hub)
        assert hub.connection_id == HOSTILE
        await hub.stop()
    for record in log.records:
        check(record.getMessage())
        check(vars(record)["connection_id"] or "")


@pytest.mark.parametrize("wanted", [int, list[int], dict[str, int]])
async def test_a_value_that_does_not_fit(server: ScriptedServer, wanted: type) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    for value in (HOSTILE, [HOSTILE], {HOSTILE: HOSTILE}):
        call: asyncio.Task[object] = asyncio.create_task(hub.invoke("Work", result_type=wanted))
        socket.answer(await socket.next(), value)
        with pytest.raises(ResultTypeError) as caught:
            await call
        check(str(caught.value))
        assert caught.value.value == value
    await hub.stop()


async def test_what_is_no_hub_message(server: ScriptedServer) -> None:
    for record in (HOSTILE.encode() + b"\x1e", json.dumps({"type": 1, "target": 3, "x": HOSTILE}).encode() + b"\x1e"):
        hub = server.hub()
        socket = await server.accept(hub)
        socket.say(record)
        with pytest.raises(Exception, match="no hub message") as caught:
            await hub.wait_closed()
        check(str(caught.value))


async def test_an_answer_that_is_no_handshake(server: ScriptedServer) -> None:
    answers = (
        HOSTILE,
        json.dumps({"error": HOSTILE}),
        '{"type":1' + "1" * 4000 + "}",
        '{"type":7,"error":"\\ud800\\n"}',
    )
    for answer in answers:
        hub = server.hub()
        start = asyncio.create_task(hub.start())
        socket = await server.sockets.get()
        await socket.next()
        socket.say(answer.encode() + b"\x1e")
        with pytest.raises(HandshakeError) as caught:
            await start
        check(str(caught.value))
