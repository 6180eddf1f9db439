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
