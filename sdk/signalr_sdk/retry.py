"""`Retry`: a policy that decides when to try to connect again and when to give up, with strategies of tenacity."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from . import errors

if TYPE_CHECKING:
    from tenacity import RetryCallState

# The HTTP statuses below 500 after which a new attempt to connect may succeed: request timeout, too many requests.
_PASSING = frozenset({408, 429})
_SERVER_ERROR = 500
# The longest delay of the default policy, in seconds.
_LONGEST = 30.0
# A longer `Retry-After` of a server is shortened to this number of seconds.
_LONGEST_RETRY_AFTER = 3600.0


@attrs.frozen
class RetryContext:
    """What a retry policy knows about the failed attempts.

    Attributes:
        attempt: number of attempts since `start()`, or since the loss of a connection that was up for at least 10 s; 0
            before the first attempt.
        elapsed: seconds since that `start()` or loss.
        error: the error of the last attempt; before the first attempt, the error that ended the connection. If the
            server ended the connection and did not allow a reconnect, a `ConnectionClosedError` whose `allow_reconnect`
            is false.
        was_connected: whether the connection was up at least once since `start()`.
    """

    attempt: int
    elapsed: float
    error: Exception | None
    was_connected: bool


def is_transient(context: RetryContext) -> bool:
    """Return whether a new attempt may succeed after an error.

    Always true: errors of the network, DNS or certificates, timeouts, a failed token provider, a failed `on_setup`
    handler, the statuses 408, 429 and 5xx. Always false: a Close message that forbids reconnecting, and a server that
    speaks the other SignalR (classic or ASP.NET Core). Other refusals (for example 401, 404, a refused handshake) and
    every `ValueError` and `TypeError`: false before the connection was up for the first time, because the URL, the
    token or another argument is probably wrong; true afterwards.
    """
    return _may_pass(context.error, context.was_connected)


def _may_pass(error: BaseException | None, was_connected: bool) -> bool:
    match error:
        case errors.ClassicServerError() | errors.CoreServerError() | errors.ClassicHubError():
            passes = False
        case ValueError() | TypeError():
            # At the first start, an argument of the connection is wrong (`proxy`, `http`). Later, the user's HTTP
            # client or hub protocol has raised the error.
            passes = was_connected
        case errors.ConnectionClosedError():
            passes = error.allow_reconnect
        case errors.SetupError():
            cause = error.__cause__
            passes = not isinstance(cause, errors.ConnectionClosedError) or cause.allow_reconnect
        case errors.HandshakeError() if isinstance(error.__cause__, errors.ConnectionClosedError | TimeoutError):
            passes = _may_pass(error.__cause__, was_connected)
        case errors.HandshakeError():
            passes = was_connected
        case errors.NegotiationError() | errors.TransportError() if error.status is not None:
            failed = error.status >= _SERVER_ERROR and not isinstance(error.__cause__, errors.ClassicHubError)
            passes = failed or error.status in _PASSING or was_connected
        case errors.NegotiationError() | errors.TransportError():
            passes = was_connected or isinstance(error.__cause__, OSError)
        case errors.ConnectionFailedError() if error.attempts:
            passes = any(_may_pass(attempt, was_connected) for attempt in error.attempts)
        case _:
            passes = True
    return passes


def retry_after(error: BaseException | None) -> float:
    """Return the seconds to wait that the server asked for by a `Retry-After` header, at most an hour; otherwise 0."""
    if isinstance(error, errors.NegotiationError | errors.TransportError) and error.retry_after is not None:
        return min(error.retry_after, _LONGEST_RETRY_AFTER)
    if isinstance(error, errors.ConnectionFailedError):
        return max((retry_after(attempt) for attempt in error.attempts), default=0.0)
    return 0.0


@attrs.frozen(kw_only=True)
class Retry:
    """A `RetryPolicy` made of tenacity's strategies. Several connections may share one `Retry` object.

    Args:
        wait: the delay before each attempt, for example `tenacity.wait_random_exponential(max=60)`. The default is
            a random delay: up to 1 s before the first attempt, up to 2 s before the second, then 4 s, at most 30 s.
        stop: when to give up, for example `tenacity.stop_after_delay(600)`; by default never.
        retry: after which errors to try again: a function that is called with a `RetryContext` (by default
            `is_transient`), or a strategy of tenacity such as `retry_if_exception(...)`.

    Raises:
        TypeError: an argument is no function.

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
        """Return a policy with a list of delays in seconds, which gives up after the last one.

        The official clients use 0, 2, 10, 30.
        """
        table = tuple(float(each) for each in seconds)
        return cls(wait=_Delays(table), stop=_AfterDelays(len(table)))

    @classmethod
    def forever(cls, *, wait: Callable[[RetryCallState], float] | None = None) -> Retry:
        """Return a policy that gives up on nothing: only `stop()` ends the connection.

        The policy also reconnects after a Close message that forbids a reconnect. As `reconnect` alone, the policy
        changes nothing for the first `start()`, which raises its error at once. With `retry_start=True` too, `start()`
        tries for ever, even with a wrong URL, a wrong token or a classic ASP.NET server. The log shows each such
        failure as a WARNING.

        Args:
            wait: the delay before each attempt, as for `Retry`.

        Example:
            >>> policy = Retry.forever()
            >>> policy.next_delay(RetryContext(0, 0.0, ValueError("a wrong URL"), False)) is None
            False
        """
        return cls(wait=wait, retry=_anything)

    def __attrs_post_init__(self) -> None:
        # Check now: otherwise the first loss would end the connection, since a policy that raises gives up.
        given: dict[str, object] = {"wait": self.wait, "stop": self.stop, "retry": self.retry}
        for name, strategy in given.items():
            if not callable(strategy) and (strategy is not None or name == "retry"):
                raise TypeError(f"{name} must be a strategy of tenacity or a function, not {strategy!r:.100}")
        if not isinstance(self.wait, _Delays | None) or not isinstance(self.stop, _AfterDelays | None):
            # Import tenacity now, before the connection starts: an import later would block the event loop.
            import tenacity  # noqa: F401

    def next_delay(self, context: RetryContext) -> float | None:
        """Return the seconds until the next attempt to connect, or `None` to give up."""
        if self.wait is None and self.stop is None and self.retry is is_transient:
            return _default_delay(context.attempt) if is_transient(context) else None
        if not self.retry(_state(context) if _is_tenacity(self.retry) else context):
            return None
        if self.wait is None:
            delay = _default_delay(context.attempt)
        else:
            delay = float(self.wait(_state_for(self.wait, context)))
        # Compute the delay first, as tenacity does: `tenacity.stop_before_delay` needs to know the delay.
        return None if self.stop is not None and self.stop(_state_for(self.stop, context, delay)) else delay


def _anything(_context: RetryContext) -> bool:
    return True


@attrs.frozen
class _Delays:
    """A `wait` strategy for `Retry.delays`: returns the delay before each attempt, in seconds.

    The last delay is repeated if there are more attempts than delays: a copy of the policy may have another `stop`.
    """

    table: tuple[float, ...]

    def __call__(self, state: RetryCallState | _Attempt) -> float:
        return self.table[min(state.attempt_number, len(self.table)) - 1] if self.table else 0.0


@attrs.frozen
class _AfterDelays:
    """A `stop` strategy for `Retry.delays`: gives up after one attempt for each delay."""

    attempts: int

    def __call__(self, state: RetryCallState | _Attempt) -> bool:
        return state.attempt_number > self.attempts


@attrs.define
class _Attempt:
    """The argument of `_Delays` and `_AfterDelays`, like tenacity's `RetryCallState` but without importing tenacity."""

    attempt_number: int


def _default_delay(attempt: int) -> float:
    # The delay is random so that many clients do not reconnect at the same moment. `random` is good enough for that.
    return random.uniform(0.0, min(_LONGEST, 2.0 ** min(attempt, 16)))


def _is_tenacity(strategy: Callable[[Any], bool]) -> bool:
    # Do not import tenacity for this check: if tenacity is not imported, the strategy cannot be tenacity's.
    module = sys.modules.get("tenacity.retry")
    return module is not None and isinstance(strategy, module.retry_base)


def _state_for(strategy: object, context: RetryContext, delay: float = 0.0) -> Any:
    return _Attempt(context.attempt + 1) if isinstance(strategy, _Delays | _AfterDelays) else _state(context, delay)


def _state(context: RetryContext, delay: float = 0.0) -> RetryCallState:
    # Import tenacity at its first use: tenacity would make `import signalr_sdk` slower.
    import tenacity

    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = context.attempt + 1
    state.start_time = 0.0
    error = context.error or ConnectionError("the connection was lost")
    state.set_exception((type(error), error, None))
    state.outcome_timestamp = context.elapsed
    state.upcoming_sleep = delay
    return state


__all__ = ["Retry", "RetryContext", "is_transient", "retry_after"]
