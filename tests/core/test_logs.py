"""The loggers of one connection."""

from __future__ import annotations

import logging

import pytest

from signalr_sdk import Transport
from signalr_sdk._core.logs import ConnectionLogs

NAMES = ("hub", "transport", "negotiate", "http")


def test_records_say_what_is_known_when_they_are_made(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logs, others = ConnectionLogs("https://example.com/a"), ConnectionLogs("https://example.com/b")
    logs.hub.info("one")
    logs.note_connection("x")
    logs.negotiate.info("two")
    logs.note_transport(Transport.LONG_POLLING)
    logs.transport.info("three")
    others.http.info("four")
    logs.note_connection(None)
    logs.http.info("five")
    facts = [
        (each.name, *(vars(each)[name] for name in ("hub", "connection_id", "transport"))) for each in caplog.records
    ]
    assert facts == [
        ("signalr_sdk.hub", "https://example.com/a", None, None),
        ("signalr_sdk.negotiate", "https://example.com/a", "x", None),
        ("signalr_sdk.transport", "https://example.com/a", "x", "LongPolling"),
        ("signalr_sdk.http", "https://example.com/b", None, None),
        ("signalr_sdk.http", "https://example.com/a", None, None),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_levels_are_those_of_the_loggers(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, f"signalr_sdk.{name}")
    log = getattr(ConnectionLogs("https://example.com/a"), name)
    log.info("too quiet")
    log.warning("loud enough, said %s", "here")
    assert [record.getMessage() for record in caplog.records] == ["loud enough, said here"]
    assert caplog.records[0].funcName == "test_levels_are_those_of_the_loggers"


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_a_log_handler_may_end_the_program(ending: type[BaseException]) -> None:
    class Ending(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ending

    logger, handler = logging.getLogger("signalr_sdk.hub"), Ending()
    logger.addHandler(handler)
    try:
        with pytest.raises(ending):
            ConnectionLogs("https://example.com/a").hub.warning("the end")
    finally:
        logger.removeHandler(handler)


def test_a_record_with_named_arguments_keeps_them(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("signalr_sdk.hub").warning("said %(what)s", {"what": "this"})
    assert [record.getMessage() for record in caplog.records] == ["said this"]
