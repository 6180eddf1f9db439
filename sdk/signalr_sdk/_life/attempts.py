"""Counting the attempts to connect, and asking the retry policies for the delay before the next attempt."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from .._guard.foreign import error_of
from ..retry import Retry, RetryContext, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..interfaces import RetryPolicy

# A connection that was up for this number of seconds was stable. When a stable connection is lost, the count of
# attempts starts at zero again.
_STABLE = 10.0


class Attempts:
    """Counts the attempts to connect, and asks the retry policies for the delay before each further attempt.

    Args:
        reconnect: the retry policy after a loss, as for `HubConnection`.
        retry_start: the retry policy of `start`, as for `HubConnection`.
        report: called with the error if a retry policy of the user raises an exception.

    Attributes:
        count: the number of attempts since `start()`, or since the loss of a connection that was up for `_STABLE`
            seconds or more.
        was_connected: whether the connection was up at least once since `start()`.
    """

    def __init__(
        self,
        reconnect: RetryPolicy | bool | None,
        retry_start: RetryPolicy | bool | None,
        report: Callable[[Exception], None],
    ) -> None:
        self.count: int = 0
        self.was_connected: bool = False
        self._policy = _policy("reconnect", reconnect)
        self._start_policy = _policy("retry_start", retry_start)
        if retry_start is True and self._policy is not None:
            self._start_policy = self._policy
        self._report = report
        self._since = 0.0
        # When the connection came up; infinity while the connection is down.
        self._up_since = math.inf

    @property
    def number(self) -> int:
        """The attempt number that a policy or a token provider is told now: 0 if the connection is up and stable."""
        return 0 if self._now() - self._up_since >= _STABLE else self.count

    @property
    def reconnects(self) -> bool:
        """Whether the user wants a new connection after a loss: `reconnect` is true or a retry policy."""
        return self._policy is not None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def begin(self) -> None:
        """Set the count of attempts to zero, because the user has called `start`."""
        self.count, self.was_connected, self._since, self._up_since = 0, False, self._now(), math.inf

    def note_up(self) -> None:
        """Record the time at which the connection came up: `note_lost` then knows how long the connection was up."""
        self.was_connected, self._up_since = True, self._now()

    def note_lost(self) -> None:
        """Record the loss of the connection. If it was up for `_STABLE` seconds or more, set `count` to zero."""
        now = self._now()
        if now - self._up_since >= _STABLE:
            self.count, self._since = 0, now
        self._up_since = math.inf

    def delay_of_start(self, error: Exception) -> float | None:
        """Return the seconds until the next attempt of `start` to connect; `None` means give up."""
        return self._delay(self._start_policy, error)

    def delay(self, error: Exception | None) -> float | None:
        """Return the seconds until the next attempt to reconnect after a loss; `None` means give up."""
        return self._delay(self._policy, error)

    def delay_of_resume(self, error: Exception | None, tried: int) -> float | None:
        """Return the seconds until the next attempt to resume the connection on a new transport; `None` means give up.

        Args:
            error: why the last attempt failed; before the first attempt, why the transport was lost.
            tried: the number of attempts to resume since the transport was lost.
        """
        if self.reconnects:
            return self.delay(error)
        # With `reconnect=False`, make only one attempt to resume, without a delay. But if `count` is above 0, the lost
        # connection was up for a short time only: wait before the attempt, or a bad network would cause a busy loop of
        # losses and resumes.
        if tried:
            return None
        return self._delay(_AT_ONCE if self.count == 0 else _SPREAD, error)

    def _delay(self, policy: RetryPolicy | None, error: Exception | None) -> float | None:
        if policy is None:
            return None
        context = RetryContext(self.count, self._now() - self._since, error, self.was_connected)
        try:
            delay = policy.next_delay(context)
            return None if delay is None else max(_seconds(delay), retry_after(error))
        except BaseException as raised:  # noqa: BLE001 - a user's policy may raise anything
            self._report(error_of(raised, "the retry policy"))
            return None


_AT_ONCE = Retry.delays(0)
_SPREAD = Retry()


def _seconds(delay: object) -> float:
    if not isinstance(delay, int | float) or math.isnan(delay):
        raise TypeError(f"a RetryPolicy must return seconds or None, not {delay!r}")
    return float(delay)


def _policy(name: str, value: RetryPolicy | bool | None) -> RetryPolicy | None:
    if value is None or value is False:
        return None
    if value is True:
        return Retry()
    if isinstance(value, type) or not hasattr(value, "next_delay"):
        raise ValueError(f"{name} must be True, False, None or a RetryPolicy, not {value!r}")
    return value
