"""The log: no record lets a text from outside forge lines, drive a terminal, or fill the disk."""

from __future__ import annotations

import logging

import pytest
from tests.log_capture import logged

from signalr_sdk import ConnectionFailedError, HubError, TransportError
from signalr_sdk._core.logs import ConnectionLogs

HOSTILE = "boom\n2026-01-01 CRITICAL forged\r\x1b[31m\x9b2J\u202e\u2028\ud800 Bearer secret-token " + "x" * 2_000_000


class OddError(Exception):
    """An exception whose text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError


def fail() -> None:
    raise HubError(HOSTILE)


def fail_twice() -> None:
    try:
        fail()
    except HubError as error:
        raise ExceptionGroup(HOSTILE, [ValueError(HOSTILE)]) from error


def check(text: str, *, lines: int = 1, longest: int = 1000) -> None:
    assert text.count("\n") < lines
    assert text.replace("\n", "").isprintable()
    assert len(text) < longest
    assert "secret-token" not in text


@pytest.mark.parametrize("argument", [HOSTILE, HubError(HOSTILE), ValueError(HOSTILE), ConnectionFailedError(HOSTILE)])
def test_an_argument_is_short_and_on_one_line(argument: object) -> None:
    with logged() as log:
        ConnectionLogs("http://hub.test/chat").hub.warning("it says %s", argument)
    (record,) = log.records
    check(record.getMessage(), longest=5000)
    assert record.getMessage().startswith("it says boom 2026-01-01 CRITICAL forged [31m 2J Bearer ***")


def test_the_errors_of_all_transports_that_were_tried_stay_whole() -> None:
    error = ConnectionFailedError("no transport", tuple(TransportError("x" * 200 + str(number)) for number in range(3)))
    with logged() as log:
        ConnectionLogs("http://hub.test/chat").hub.warning("%s", error)
    for number in range(3):
        assert f"x{number}" in log.records[0].getMessage()


def test_an_exception_without_a_text_has_its_type() -> None:
    with logged() as log:
        ConnectionLogs("http://hub.test/chat").hub.warning("%s, %s", OddError(), ValueError())
    assert log.records[0].getMessage() == "OddError, ValueError"


def test_a_traceback_has_its_frames_and_each_text_on_one_line(expected_errors: list[logging.LogRecord]) -> None:
    logger = ConnectionLogs("http://hub.test/chat").hub
    with logged() as log:
        try:
            fail_twice()
        except ExceptionGroup:
            logger.exception("it failed")
    text = logging.Formatter("%(levelname)s %(message)s").format(log.records[0])
    check(text, lines=40, longest=8000)
    assert "The above exception was the direct cause" in text
    assert "raise HubError(HOSTILE)" in text
    assert "\nsignalr_sdk.errors.HubError: boom 2026-01-01 CRITICAL forged" in text
    assert "\n2026-01-01" not in text


def test_the_facts_of_a_record_are_safe_too() -> None:
    logs = ConnectionLogs("http://hub.test/chat")
    logs.note_connection(HOSTILE)
    with logged() as log:
        logs.transport.debug("here")
    check(vars(log.records[0])["connection_id"])


def test_numbers_and_bytes_stay_as_they_are() -> None:
    with logged() as log:
        ConnectionLogs("http://hub.test/chat").http.debug("%d %.1f %.5r", 3, 0.25, b"\x1b[31m")
    assert log.records[0].getMessage() == "3 0.2 b'\\x1"
