"""What `signalr doctor` finds out: how each check went, and for what failed the probable cause and what to do."""

from __future__ import annotations

from enum import StrEnum

import attrs


class Mark(StrEnum):
    """How a check ended."""

    GOOD = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@attrs.frozen
class Reason:
    """Why something failed, as far as can be told from here.

    Attributes:
        cause: the probable cause.
        advice: what to do.
    """

    cause: str
    advice: str


@attrs.frozen
class Finding:
    """What a check found.

    Attributes:
        mark: how it ended; `None` while it runs.
        said: what was seen.
        reason: why it failed, or what to know.
        check: its name.
        seconds: how long it took.
    """

    mark: Mark | None
    said: str = ""
    reason: Reason | None = None
    check: str = ""
    seconds: float = 0.0


@attrs.frozen
class Problem:
    """Something to mend.

    Attributes:
        where: the check, or the combination of transport and protocol.
        said: what was seen.
        reason: why, and what to do.
        mark: how bad it is.
    """

    where: str
    said: str
    reason: Reason
    mark: Mark = Mark.FAILED
