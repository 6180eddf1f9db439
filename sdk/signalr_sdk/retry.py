"""When to try to connect again, and when to give up: policies made of tenacity's strategies. No function here waits."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from .errors import (
    ClassicServerError,
    ConnectionClosedError,
    ConnectionFailedError,
    HandshakeError,
    NegotiationError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

# HTTP statuses of passing failures, beside those from 500 on.
_PASSING = frozenset({408, 429})
_SERVER_ERROR = 500
# The default policy's longest delay, in seconds.
_LONGEST = 30.0
# The most seconds that a server can make a client wait by `Retry-After`.
_LONGEST_RETRY_AFTER = 3600.0


@attrs.frozen
class RetryContext:
    """The facts on which a policy may base its decision.

    Attributes:
        attempt: number of attempts since the connection was last stable; 0 before the first one.
        elapsed: seconds since the connection was last stable.
        error: the error that ended the connection, or the last attempt.
        was_connected: whether the connection was up at least once since `start()`.
    """

    attempt: int
    elapsed: float
    error: Exception | None
    was_connected: bool


def is_transient(context: RetryContext) -> bool:
    """Return whether trying again may help.

    Errors of the network, DNS and certificates, timeouts, 408, 429, 5xx and a failing token provider may pass. A Close
    message that forbids reconnecting and a classic server never do. All other refusals (400, 401, 403, 404, 405, a
    refused handshake) mean a wrong URL or token until the connection was up once, and may pass from then on.
    """
    return _may_pass(context.error, context.was_connected)


def _may_pass(error: BaseException | None, was_connected: bool) -> bool:
    match error:
        case ClassicServerError() | ValueError() | TypeError():
            passes = False
        case ConnectionClosedError():
            passes = error.allow_reconnect
        case HandshakeError() if isinstance(error.__cause__, ConnectionClosedError | TimeoutError):
            passes = _may_pass(error.__cause__, was_connected)
        case HandshakeError():
            passes = was_connected
        case NegotiationError() | TransportError() if error.status is not None:
            passes = error.status in _PASSING or error.status >= _SERVER_ERROR or was_connected
        case NegotiationError() | TransportError():
            passes = was_connected or isinstance(error.__cause__, OSError)
        case ConnectionFailedError() if error.attempts:
            passes = any(_may_pass(attempt, was_connected) for attempt in error.attempts)
        case _:
            passes = True
    return passes


def retry_after(error: BaseException | None) -> float:
    """Return the seconds that the server asked to wait, at most an hour; 0 if the error holds none."""
    if isinstance(error, NegotiationError | TransportError) and error.retry_after is not None:
        return min(error.retry_after, _LONGEST_RETRY_AFTER)
    if isinstance(error, ConnectionFailedError):
        return max((retry_after(attempt) for attempt in error.attempts), default=0.0)
    return 0.0


@attrs.frozen(kw_only=True)
class Retry:
    """A `RetryPolicy` made of tenacity's strategies. It is immutable and never sleeps, so connections may share it.

    Args:
        wait: the delay before an attempt, for example `tenacity.wait_random_exponential(max=60)`. By default a random
            delay of up to 1 s before the first attempt, and up to twice as much before each next one, at most 30 s.
        stop: when to give up, for example `tenacity.stop_after_delay(600)`; never by default.
        retry: for which errors to try again: a function of a `RetryContext`, by default `is_transient`, or one of
            tenacity's strategies such as `retry_if_exception(...)`.

    Example:
        >>> policy = Retry.delays(0, 2, 10)
        >>> [policy.next_delay(RetryContext(n, 0.0, TimeoutError(), True)) for n in range(4)]
        [0.0, 2.0, 10.0, None]
    """

    wait: Callable[[RetryCallState], float] | None = None
    stop: Callable[[RetryCallState], bool] | None = None
    retry: Callable[[Any], bool] = is_transient

    @classmethod
    def delays(cls, *seconds: float) -> Retry:
        """Return a policy with one delay for each attempt, which then gives up (official clients: 0, 2, 10, 30)."""
        table = tuple(float(each) for each in seconds)
        return cls(wait=_Delays(table), stop=_AfterDelays(len(table)))

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.wait, _Delays | None) or not isinstance(self.stop, _AfterDelays | None):
            # A policy is made before its connection starts. At the first loss, the import would stop the event loop.
            import tenacity  # noqa: F401

    def next_delay(self, context: RetryContext) -> float | None:
        """Return the seconds to wait before the next attempt, or `None` to give up."""
        if self.wait is None and self.stop is None and self.retry is is_transient:
            return _default_delay(context.attempt) if is_transient(context) else None
        if not self.retry(_state(context) if _is_tenacity(self.retry) else context):
            return None
        if self.stop is not None and self.stop(_state_for(self.stop, context)):
            return None
        if self.wait is None:
            return _default_delay(context.attempt)
        return float(self.wait(_state_for(self.wait, context)))


class _HasAttempt(Protocol):
    attempt_number: int


@attrs.frozen
class _Delays:
    """Waits as a table says. The attempt may be one more than the table has, since tenacity asks it before `stop`."""

    table: tuple[float, ...]

    def __call__(self, state: _HasAttempt) -> float:
        return self.table[min(state.attempt_number, len(self.table)) - 1] if self.table else 0.0


@attrs.frozen
class _AfterDelays:
    """Stops after so many attempts."""

    attempts: int

    def __call__(self, state: _HasAttempt) -> bool:
        return state.attempt_number > self.attempts


@attrs.define
class _Attempt:
    """What `_Delays` and `_AfterDelays` need of tenacity's state, without tenacity."""

    attempt_number: int


def _default_delay(attempt: int) -> float:
    # A pseudo-random number is good enough to spread clients over time.
    return random.uniform(0.0, min(_LONGEST, 2.0 ** min(attempt, 16)))


def _is_tenacity(strategy: Callable[[Any], bool]) -> bool:
    # A strategy of tenacity's is there only where tenacity is.
    module = sys.modules.get("tenacity.retry")
    return module is not None and isinstance(strategy, module.retry_base)


def _state_for(strategy: object, context: RetryContext) -> Any:
    return _Attempt(context.attempt + 1) if isinstance(strategy, _Delays | _AfterDelays) else _state(context)


def _state(context: RetryContext) -> RetryCallState:
    # Imported at the first use, since tenacity would make `import signalr_sdk` slower.
    import tenacity

    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = context.attempt + 1
    state.start_time = 0.0
    error = context.error or ConnectionError("the connection was lost")
    state.set_exception((type(error), error, None))
    state.outcome_timestamp = context.elapsed
    return state


__all__ = ["Retry", "RetryContext", "is_transient", "retry_after"]
