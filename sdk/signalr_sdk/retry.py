"""When to try again, and for how long: policies over tenacity's strategies. Nothing here sleeps."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

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

# Statuses that say "not now" rather than "not so".
_PASSING = frozenset({408, 429})
_SERVER_ERROR = 500
# The default policy's longest delay, in seconds.
_LONGEST = 30.0


@attrs.frozen
class RetryContext:
    """What a policy may base its decision on.

    Attributes:
        attempt: how many attempts were made since the connection was last stable; 0 for the first.
        elapsed: seconds since then.
        error: why the last attempt, or the connection, failed.
        was_connected: whether the connection was up once since `start()`.
    """

    attempt: int
    elapsed: float
    error: Exception | None
    was_connected: bool


def is_transient(context: RetryContext) -> bool:
    """Return whether trying again may help.

    Network errors, DNS, certificates, timeouts, 408, 429, 5xx and a failing token provider pass. A Close message that
    does not allow reconnecting and a classic server never do. All other refusals (400, 401, 403, 404, 405, a refused
    handshake) mean a wrong URL or token before the connection was up once, and a passing state of the server later.
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
    """Return the seconds that the server asked to wait, 0 if it did not."""
    if isinstance(error, NegotiationError | TransportError) and error.retry_after is not None:
        return error.retry_after
    if isinstance(error, ConnectionFailedError):
        return max((retry_after(attempt) for attempt in error.attempts), default=0.0)
    return 0.0


@attrs.frozen(kw_only=True)
class Retry:
    """A `RetryPolicy` of tenacity's own strategies. Immutable and pure: it never sleeps, and may be shared.

    Args:
        wait: how long, for example `tenacity.wait_random_exponential(max=60)`; the default is spread over 0 to 1 s at
            random, then grows exponentially with full jitter up to 30 s.
        stop: when to give up, for example `tenacity.stop_after_delay(600)`; never by default.
        retry: what to try again for: a predicate over `RetryContext`; `is_transient` by default. tenacity's
            `retry_if_exception(...)` strategies work too.

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
        """Return a policy that waits so long before each attempt, then gives up (officially 0, 2, 10, 30)."""
        table = tuple(float(each) for each in seconds)

        # tenacity asks for the wait before the stop, so the index may be past the end.
        def wait(state: RetryCallState) -> float:
            return table[min(state.attempt_number, len(table)) - 1] if table else 0.0

        return cls(wait=wait, stop=lambda state: state.attempt_number > len(table))

    def next_delay(self, context: RetryContext) -> float | None:
        """Return the seconds to wait before the next attempt, or `None` to give up."""
        if self.wait is None and self.stop is None and self.retry is is_transient:
            return _default_delay(context.attempt) if is_transient(context) else None
        state = _state(context)
        wanted = self.retry(state if _is_tenacity(self.retry) else context)
        if not wanted or (self.stop is not None and self.stop(state)):
            return None
        return _default_delay(context.attempt) if self.wait is None else float(self.wait(state))


def _default_delay(attempt: int) -> float:
    # Spreading clients over time needs no secret.
    return random.uniform(0.0, min(_LONGEST, 2.0 ** min(attempt, 16)))


def _is_tenacity(strategy: Callable[[Any], bool]) -> bool:
    # Imported when first needed: `import signalr_sdk` stays light.
    from tenacity.retry import retry_base

    return isinstance(strategy, retry_base)


def _state(context: RetryContext) -> RetryCallState:
    # Imported when first needed, as above.
    import tenacity

    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = context.attempt + 1
    state.start_time = 0.0
    error = context.error or ConnectionError("the connection was lost")
    state.set_exception((type(error), error, None))
    state.outcome_timestamp = context.elapsed
    return state


__all__ = ["Retry", "RetryContext", "is_transient", "retry_after"]
