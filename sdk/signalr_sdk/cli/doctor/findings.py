"""The results of the checks of `signalr doctor`: how each check ended, and advice if the check failed."""

from __future__ import annotations

from enum import StrEnum

import attrs

from ..exit_status import for_terminal


class Mark(StrEnum):
    """How a check of `signalr doctor` ended, from good to failed."""

    GOOD = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@attrs.frozen
class Advice:
    """What `signalr doctor` says about a check or step that failed.

    Attributes:
        cause: the probable cause, as far as a client can tell.
        action: what the user can do.
    """

    cause: str = attrs.field(converter=for_terminal)
    action: str = attrs.field(converter=for_terminal)


@attrs.frozen
class Finding:
    """The result of one check of `signalr doctor`, for example of the look-up of the host's name.

    Attributes:
        mark: how the check ended; `None` while it runs.
        said: what the check has seen, as a text for users.
        advice: advice about a check that failed or that found a risk; otherwise `None`.
        check: name of the check.
        seconds: how long the check took.
    """

    mark: Mark | None
    said: str = attrs.field(default="", converter=for_terminal)
    advice: Advice | None = attrs.field(default=None, kw_only=True)
    check: str = attrs.field(default="", kw_only=True)
    seconds: float = attrs.field(default=0.0, kw_only=True)


@attrs.frozen(kw_only=True)
class Problem:
    """A failure or a risk that the user should look at.

    Attributes:
        where: name of the check, or transports and steps, for example `WebSockets, connect; LongPolling, connect`.
        said: what the check has seen, or the error of the step.
        advice: the probable cause, and what the user can do.
        mark: how bad the problem is.
    """

    where: str
    said: str = attrs.field(converter=for_terminal)
    advice: Advice
    mark: Mark
