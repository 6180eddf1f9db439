"""What the checks of `signalr doctor` find: how each check ended, and advice for what failed."""

from __future__ import annotations

from enum import StrEnum

import attrs

from ..exit_status import for_terminal


class Mark(StrEnum):
    """How a check ended."""

    GOOD = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@attrs.frozen
class Advice:
    """Advice for something that failed.

    Attributes:
        cause: the probable cause, as far as a client can tell.
        action: what to do.
    """

    cause: str = attrs.field(converter=for_terminal)
    action: str = attrs.field(converter=for_terminal)


@attrs.frozen
class Finding:
    """The result of a check.

    Attributes:
        mark: how the check ended; `None` while it runs.
        said: what the check has seen.
        advice: for a check that failed, or that found something worth knowing.
        check: name of the check.
        seconds: how long the check took.
    """

    mark: Mark | None
    said: str = attrs.field(default="", converter=for_terminal)
    advice: Advice | None = None
    check: str = attrs.field(default="", kw_only=True)
    seconds: float = attrs.field(default=0.0, kw_only=True)


@attrs.frozen(kw_only=True)
class Problem:
    """Something that the user should look at.

    Attributes:
        where: the check, or the transports and protocols with their steps.
        said: what was seen there.
        advice: the cause, and what to do.
        mark: how bad the problem is.
    """

    where: str
    said: str = attrs.field(converter=for_terminal)
    advice: Advice
    mark: Mark
