"""Dead paths and busy servers, told apart by samples of TCP's acknowledgements."""

from __future__ import annotations

import math

import pytest

from signalr_sdk._core.path_watch import PathSample, PathWatch

QUIET = PathSample(unacknowledged=0, since_ack=1000.0)


def waiting(since_ack: float) -> PathSample:
    return PathSample(unacknowledged=3, since_ack=since_ack)


def test_nothing_is_looked_at_before_something_was_sent() -> None:
    watch = PathWatch(30.0)
    assert watch.deadline == math.inf
    assert watch.note_sent(100.0)
    assert watch.deadline == 101.0
    assert not watch.note_sent(100.5), "the first message decides"


def test_no_timeout_is_no_watch() -> None:
    watch = PathWatch(None)
    assert not watch.note_sent(100.0)
    assert watch.deadline == math.inf


def test_a_dead_path_is_found_after_the_timeout() -> None:
    watch = PathWatch(30.0)
    watch.note_sent(100.0)
    now = watch.deadline
    assert now == 101.0
    while not watch.look({1: waiting(now - 50.0)}, now):
        assert now < watch.deadline <= now + 2.0, "data that is sent meanwhile must be seen soon"
        now = watch.deadline
    assert now == 130.0


def test_data_that_is_stuck_while_other_data_is_under_way_is_found_in_time() -> None:
    watch = PathWatch(30.0)
    watch.note_sent(100.0)
    assert not watch.look({1: waiting(0.1), 2: QUIET}, 101.0)
    # The second socket's data is sent just after this look, when the first one's is acknowledged.
    now = watch.deadline
    while not watch.look({1: QUIET, 2: waiting(now - 101.5)}, now):
        now = watch.deadline
    assert now <= 101.5 + 32


def test_a_path_that_acknowledges_is_looked_at_again_when_something_is_sent() -> None:
    watch = PathWatch(30.0)
    watch.note_sent(100.0)
    assert not watch.look({1: QUIET}, 101.0)
    assert watch.deadline == math.inf
    assert watch.note_sent(200.0)


def test_a_slow_path_starts_over_with_each_acknowledgement() -> None:
    watch = PathWatch(30.0)
    watch.note_sent(100.0)
    assert not watch.look({1: waiting(9.0)}, 101.0)
    assert not watch.look({1: waiting(0.5)}, 130.0)
    assert not watch.look({1: waiting(29.0)}, 158.5)
    assert watch.look({1: waiting(29.5)}, 159.0)


def test_a_hole_for_large_packets_is_a_dead_path() -> None:
    """The server's small packets still arrive, and each carries an acknowledgement, which acknowledges nothing new."""
    watch = PathWatch(30.0)
    watch.note_sent(100.0)
    assert not watch.look({1: PathSample(3, 0.1, acknowledged=5000, repeats=0)}, 101.0)
    now = watch.deadline
    while not watch.look({1: PathSample(3, 0.1, acknowledged=5000, repeats=2)}, now):
        now = watch.deadline
    assert now == 130.0


def test_a_path_that_loses_many_packets_is_not_dead() -> None:
    watch = PathWatch(30.0)
    watch.note_sent(100.0)
    for now in range(101, 1000):
        assert not watch.look({1: PathSample(3, 0.1, acknowledged=now // 29, repeats=2)}, float(now))


def test_a_server_that_reads_nothing_and_acknowledges_repeated_data_again_is_busy() -> None:
    """A server whose receive buffer is full may close a window that was open. TCP does not count these repeats."""
    watch = PathWatch(30.0)
    watch.note_sent(100.0)
    for now in range(101, 1000):
        assert not watch.look({1: PathSample(3, 0.1, acknowledged=5000, repeats=0)}, float(now))


def test_a_server_that_reads_nothing_acknowledges_the_probes() -> None:
    """With a closed window nothing is unacknowledged: the rest waits on this side."""
    watch = PathWatch(30.0)
    for now in range(100, 1000, 10):
        if now >= watch.deadline:
            assert not watch.look({1: PathSample(0, 4.0)}, float(now))
        watch.note_sent(float(now))


def test_each_socket_counts_for_itself() -> None:
    watch = PathWatch(30.0)
    watch.note_sent(100.0)
    assert not watch.look({1: waiting(5.0), 2: QUIET}, 101.0)
    assert not watch.look({1: QUIET, 2: waiting(40.0)}, 130.0), "another one than before"
    assert not watch.look({2: waiting(68.0)}, 158.0)
    assert watch.look({2: waiting(69.0)}, 159.0)


def test_sockets_that_cannot_be_asked_are_no_reason() -> None:
    watch = PathWatch(30.0)
    watch.note_sent(100.0)
    assert not watch.look({}, 101.0)
    assert watch.deadline == math.inf


@pytest.mark.parametrize("timeout", [0.1, 1.0, 4.0])
def test_short_timeouts_have_a_first_look_of_their_own(timeout: float) -> None:
    watch = PathWatch(timeout)
    watch.note_sent(0.0)
    assert watch.deadline == timeout / 4
    assert not watch.look({1: waiting(9.0)}, timeout / 4)
    assert watch.look({1: waiting(9.0)}, timeout)
