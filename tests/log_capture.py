"""Capturing the log of the client, for tests of what is logged and of what must never be logged."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGERS = ("hub", "transport", "negotiate", "http")


class Log(logging.Handler):
    """A handler that keeps all records.

    Attributes:
        records: the records.
        texts: for each record its text with the traceback, and all its attributes.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.texts += [self.format(record), repr(vars(record))]

    def having(self, *words: str) -> list[str]:
        """Return the texts that have one of the words in them."""
        return [text for text in self.texts if any(word in text for word in words)]


@contextmanager
def logged() -> Iterator[Log]:
    """Switch the client's loggers to DEBUG, and yield the handler that keeps their records."""
    log = Log()
    loggers = [logging.getLogger(f"signalr_sdk.{name}") for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(log)
    try:
        yield log
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
            logger.removeHandler(log)
