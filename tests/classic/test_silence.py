"""When a silent classic server is slow, and when it is lost."""

from __future__ import annotations

import math

import pytest

from signalr_sdk.classic.silence import Silence, SilenceWatch


def test_a_server_is_slow_once_then_lost() -> None:
    watch = SilenceWatch(30.0, None)
    assert watch.next_look(100.0, 101.0) == 120.0
    assert watch.look(100.0, 119.9) is Silence.NONE
    assert watch.look(100.0, 120.0) is Silence.SLOW
    assert watch.next_look(100.0, 120.0) == 130.0
    assert watch.look(100.0, 129.9) is Silence.NONE
    assert watch.look(100.0, 130.0) is Silence.LOST


def test_each_silence_is_told_of() -> None:
    watch = SilenceWatch(30.0, None)
    assert watch.look(100.0, 120.0) is Silence.SLOW
    assert watch.look(121.0, 122.0) is Silence.NONE
    assert watch.look(121.0, 145.0) is Silence.SLOW
    watch.begin_transport(146.0)
    assert watch.next_look(150.0, 150.0) == 170.0
    assert watch.look(150.0, 171.0) is Silence.SLOW


def test_without_a_limit_the_clocks_are_looked_at_now_and_then() -> None:
    watch = SilenceWatch(None, None)
    assert watch.next_look(0.0, 1000.0) == 1010.0
    assert watch.look(0.0, math.inf) is Silence.NONE


@pytest.mark.parametrize("limit", [None, 30.0])
def test_hubs_that_are_idle(limit: float | None) -> None:
    watch = SilenceWatch(limit, 5.0)
    watch.note_message(90.0)
    assert watch.look(100.0, 101.0) is Silence.NONE
    watch.begin_idle(100.0)
    assert watch.next_look(100.0, 100.0) == 105.0
    watch.note_message(102.0)
    assert watch.look(105.0, 106.9) is Silence.NONE
    assert watch.look(107.0, 107.0) is Silence.IDLE
