"""Policies are pure: they say how long to wait, and never wait."""

from __future__ import annotations

import pickle
import socket
from typing import Any

import pytest
import tenacity

from signalr_sdk.errors import (
    ClassicServerError,
    ConnectionClosedError,
    ConnectionFailedError,
    HandshakeError,
    NegotiationError,
    RemoteProtocolError,
    ServerTimeoutError,
    TransportError,
)
from signalr_sdk.options import Transport
from signalr_sdk.retry import Retry, RetryContext, is_transient, retry_after


def context(
    error: Exception | None, *, attempt: int = 0, elapsed: float = 0.0, was_connected: bool = False
) -> RetryContext:
    return RetryContext(attempt, elapsed, error, was_connected)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def negotiation(status: int | None) -> NegotiationError:
    return NegotiationError("no", url="http://h/negotiate", status=status)


ALWAYS = [
    ConnectionClosedError("lost", allow_reconnect=True),
    ServerTimeoutError("silence", allow_reconnect=True),
    RemoteProtocolError("garbage"),
    negotiation(408),
    negotiation(429),
    negotiation(503),
    caused(negotiation(None), socket.gaierror("no such host")),
    caused(TransportError("refused", transport=Transport.WEBSOCKETS), ConnectionRefusedError()),
    TransportError("busy", transport=Transport.WEBSOCKETS, status=502),
    ConnectionFailedError("none works", (TransportError("busy", status=500),)),
    ConnectionFailedError("the access token provider failed"),
    caused(HandshakeError("no answer"), TimeoutError()),
    caused(HandshakeError("lost"), ConnectionClosedError("lost", allow_reconnect=True)),
    None,
]
LATER = [
    negotiation(400),
    negotiation(401),
    negotiation(403),
    negotiation(404),
    negotiation(405),
    negotiation(None),
    HandshakeError("not supported"),
    TransportError("blocked", status=403),
    ConnectionFailedError("none works", (TransportError("blocked", status=403),)),
    ValueError("the user's HTTP client has a bug"),
    TypeError("so has this one"),
]
NEVER = [
    ClassicServerError("classic"),
    ConnectionClosedError("bye"),
    caused(HandshakeError("closed"), ConnectionClosedError("no entry")),
]


@pytest.mark.parametrize("error", ALWAYS, ids=repr)
def test_what_passes(error: Exception | None) -> None:
    assert is_transient(context(error))
    assert is_transient(context(error, was_connected=True))


@pytest.mark.parametrize("error", LATER, ids=repr)
def test_what_is_a_wrong_url_or_token_at_first(error: Exception) -> None:
    """The official clients retry all errors alike."""
    assert not is_transient(context(error))
    assert is_transient(context(error, was_connected=True))


@pytest.mark.parametrize("error", NEVER, ids=repr)
def test_what_never_passes(error: Exception) -> None:
    assert not is_transient(context(error))
    assert not is_transient(context(error, was_connected=True))


def test_the_default_is_spread_and_grows_without_end() -> None:
    """The official clients' default has no jitter; pysignalr has no delay after a clean end."""
    policy = Retry()
    error = ConnectionClosedError("lost", allow_reconnect=True)
    for attempt, longest in [(0, 1), (1, 2), (2, 4), (4, 16), (5, 30), (10_000, 30)]:
        delays = [policy.next_delay(context(error, attempt=attempt, elapsed=1e6)) for _ in range(200)]
        numbers = [delay for delay in delays if delay is not None]
        assert len(numbers) == 200
        assert 0 <= min(numbers) < longest / 4
        assert longest * 3 / 4 < max(numbers) <= longest


def test_the_default_gives_up_on_what_is_permanent() -> None:
    assert Retry().next_delay(context(negotiation(404))) is None


def test_the_table_of_the_official_clients() -> None:
    policy = Retry.delays(0, 2, 10, 30)
    error = TimeoutError()
    assert [policy.next_delay(context(error, attempt=n)) for n in range(5)] == [0, 2, 10, 30, None]
    assert Retry.delays().next_delay(context(error)) is None


@pytest.mark.parametrize("error", [*ALWAYS, *LATER, *NEVER], ids=repr)
def test_for_ever_gives_up_on_nothing(error: Exception | None) -> None:
    for attempt in (0, 10_000):
        assert Retry.forever().next_delay(context(error, attempt=attempt, elapsed=1e9)) is not None
        assert Retry.forever(wait=tenacity.wait_fixed(60)).next_delay(context(error, attempt=attempt)) == 60


def test_for_ever_waits_as_the_default_does_and_is_a_value() -> None:
    policy = Retry.forever()
    delays = [policy.next_delay(context(ValueError("bad URL"), attempt=10)) or 0.0 for _ in range(200)]
    assert 0 <= min(delays) < 8
    assert 22 < max(delays) <= 30
    assert pickle.loads(pickle.dumps(policy)) == policy == Retry.forever() != Retry()


def test_tenacity_strategies_see_attempt_time_and_error() -> None:
    policy = Retry(
        wait=tenacity.wait_incrementing(start=1, increment=2),
        stop=tenacity.stop_after_delay(60) | tenacity.stop_after_attempt(5),
        retry=tenacity.retry_if_exception_type(TimeoutError),
    )
    assert policy.next_delay(context(TimeoutError(), attempt=2)) == 5
    assert policy.next_delay(context(TimeoutError(), attempt=2, elapsed=61)) is None
    assert policy.next_delay(context(TimeoutError(), attempt=4)) is None
    assert policy.next_delay(context(KeyError())) is None


def test_a_stop_strategy_sees_the_delay() -> None:
    """As `tenacity.stop_before_delay` does, which the lowest version of tenacity lacks."""

    def before_a_minute(state: Any) -> bool:
        return bool(state.seconds_since_start + state.upcoming_sleep >= 60)

    policy = Retry(wait=tenacity.wait_fixed(30), stop=before_a_minute)
    assert policy.next_delay(context(TimeoutError(), elapsed=29)) == 30
    assert policy.next_delay(context(TimeoutError(), elapsed=31)) is None


def test_a_predicate_over_the_context() -> None:
    policy = Retry(wait=tenacity.wait_fixed(3), retry=lambda context: context.was_connected)
    assert policy.next_delay(context(negotiation(404), was_connected=True)) == 3
    assert policy.next_delay(context(None)) is None


@pytest.mark.parametrize("wrong", [{"wait": 0}, {"stop": 60.0}, {"retry": None}, {"retry": TimeoutError()}])
def test_what_is_no_strategy_is_refused_at_once(wrong: dict[str, Any]) -> None:
    """Not at the first loss, which it would turn into the end."""
    with pytest.raises(TypeError, match=rf"^{next(iter(wrong))} must be a strategy of tenacity or a function, not"):
        Retry(**wrong)


def test_a_stop_alone_keeps_the_default_delays() -> None:
    delay = Retry(stop=tenacity.stop_after_attempt(3)).next_delay(context(None))
    assert delay is not None
    assert 0 <= delay <= 1


def test_the_server_may_ask_for_more_time() -> None:
    assert retry_after(None) == 0
    assert retry_after(ValueError()) == 0
    assert retry_after(NegotiationError("busy", status=429, retry_after=7.0)) == 7
    failed = ConnectionFailedError("none", (TransportError("busy", retry_after=3.0), TransportError("no")))
    assert retry_after(failed) == 3
    assert retry_after(ConnectionFailedError("none")) == 0


def test_a_server_that_asks_for_more_than_an_hour_gets_an_hour() -> None:
    assert retry_after(NegotiationError("busy", status=429, retry_after=999_999_999.0)) == 3600
    failed = ConnectionFailedError("none", (TransportError("busy", retry_after=86400.0), TransportError("no")))
    assert retry_after(failed) == 3600


def test_errors_can_be_pickled_and_show_where() -> None:
    error = TransportError("refused", transport=Transport.WEBSOCKETS, url="http://h/hub", status=403)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "WebSockets: refused (http://h/hub, status 403)"
    assert (again.transport, again.status) == (Transport.WEBSOCKETS, 403)
    assert isinstance(again, ConnectionError)
