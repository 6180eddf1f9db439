"""All that the client logs, for tests of what it says and what it never says."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGERS = ("hub", "transport", "negotiate", "http")


class Log(logging.Handler):
    """All records of the client.

    Attributes:
        records: as they were made.
        texts: how each reads, with its traceback, and all that it holds.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.texts += [self.format(record), repr(vars(record))]

    def having(self, *words: str) -> list[str]:
        """Return what has one of the words in it."""
        return [text for text in self.texts if any(word in text for word in words)]


@contextmanager
def logged() -> Iterator[Log]:
    """Switch the four loggers to DEBUG; yields what they say."""
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
