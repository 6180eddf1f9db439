"""The schedule of an outbox, with a store in memory: which entry is called next, and that none is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from signalr_sdk.delivery import Page, StoredEntry
from signalr_sdk.delivery import schedule as module
from signalr_sdk.delivery.schedule import Call, End, Reading, Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest


def entry(position: int, key: str | None = None, **more: Any) -> StoredEntry:
    made = StoredEntry(f"id {position}", "Store", key, b"body", 2e9, position=position)
    return attrs.evolve(made, **more)


class MemoryStore:
    """What `OutboxStore.read` answers, for entries in memory."""

    def __init__(self, entries: list[StoredEntry]) -> None:
        self.entries = {each.position: each for each in entries}
        self.revision = 0
        self.last = max(self.entries, default=0)

    def read(self, reading: Reading) -> Page:
        def is_wanted(each: StoredEntry) -> bool:
            if reading.until is None:
                return each.key not in reading.skip
            return each.key == reading.key and each.position <= reading.until

        behind = [each for position, each in sorted(self.entries.items()) if position > reading.after]
        found = [each for each in behind if is_wanted(each)]
        more = len(found) >= reading.limit
        found = found[: reading.limit]
        end = self.last if reading.until is None else reading.until
        position = (found[-1].position if found else reading.after) if more else end
        return Page(found, position, self.revision, more)


class Play:
    """A schedule with its store."""

    def __init__(self, entries: list[StoredEntry], batch: dict[str, int] | None = None) -> None:
        self.store = MemoryStore(entries)
        self.schedule = Schedule(batch or {}, 16_000)
        self.now = 0.0

    def read_all(self) -> None:
        self.schedule.note_news()
        while (reading := self.schedule.next_reading()) is not None:
            self.schedule.add(reading, self.store.read(reading), self.now, 2e9)

    def take(self) -> Call | None:
        self.read_all()
        call, expired = self.schedule.take(self.now, 2e9)
        assert not expired
        return call

    def succeed(self, call: Call) -> None:
        for each in call.entries:
            del self.store.entries[each.position]
        self.schedule.succeed(call)

    def drop(self, positions: Iterable[int]) -> None:
        for position in positions:
            del self.store.entries[position]
        self.store.revision += 1

    def positions(self) -> list[int]:
        """Deliver everything, one call at a time; return the positions in order."""
        found = []
        while (call := self.take()) is not None:
            found += [each.position for each in call.entries]
            self.succeed(call)
        return found


def test_entries_are_called_in_order() -> None:
    assert Play([entry(n, f"k{n % 3}") for n in range(1, 3000)]).positions() == list(range(1, 3000))


def test_a_key_has_one_call_under_way() -> None:
    play = Play([entry(1, "a"), entry(2, "a"), entry(3, "b")])
    first, second = play.take(), play.take()
    assert first is not None
    assert second is not None
    assert [first.entries[0].position, second.entries[0].position] == [1, 3]
    assert play.take() is None
    play.succeed(first)
    third = play.take()
    assert third is not None
    assert third.entries[0].position == 2


def test_entries_of_a_key_behind_the_window_are_not_forgotten() -> None:
    many = [entry(n, "a") for n in range(1, 2500)]
    play = Play([*many, entry(2500, "b")])
    first, other = play.take(), play.take()
    assert first is not None
    assert other is not None
    assert other.entries[0].key == "b"
    play.succeed(other)
    play.succeed(first)
    assert play.positions() == list(range(2, 2500))


def test_a_blocked_key_comes_back_when_it_is_due() -> None:
    play = Play([entry(n, "a") for n in range(1, 600)] + [entry(600, "b")])
    call = play.take()
    assert call is not None
    assert play.schedule.fail(call, End.FAILED)
    play.schedule.put_off(call, attrs.evolve(call.entries[0], attempts=1), 5.0)
    other = play.take()
    assert other is not None
    assert other.entries[0].key == "b"
    play.succeed(other)
    assert play.take() is None
    assert play.schedule.next_due() == 5.0
    play.now = 5.0
    assert play.positions() == list(range(1, 600))


def test_a_delay_of_another_process_is_waited_for() -> None:
    play = Play([entry(1, "a", attempts=2, delay=10.0, due=2e9 + 7)])
    assert play.take() is None
    assert play.schedule.next_due() == 7.0


def test_a_batch_that_fails_is_halved_until_the_guilty_entry_is_alone() -> None:
    play = Play([entry(n) for n in range(1, 65)], {"Store": 64})
    sizes: list[int] = []
    while True:
        call = play.take()
        assert call is not None
        sizes.append(len(call.entries))
        if all(each.position != 40 for each in call.entries):
            play.succeed(call)
        elif play.schedule.fail(call, End.FAILED):
            break
    assert sizes == [64, 32, 32, 16, 8, 4, 4, 2, 2, 1, 1]
    play.schedule.bury(call)
    del play.store.entries[40]
    assert play.positions() == list(range(41, 65))


def test_a_suspect_is_called_alone_and_then_its_losses_count() -> None:
    play = Play([entry(1, "a"), entry(2, "b"), entry(3, "c")])
    for _ in range(2):
        calls = [play.take(), play.take(), play.take()]
        for call in calls:
            assert call is not None
            assert not play.schedule.fail(call, End.LOST)
    alone = play.take()
    assert alone is not None
    assert alone.is_alone
    assert play.take() is None
    assert play.schedule.fail(alone, End.LOST)
    play.schedule.put_off(alone, attrs.evolve(alone.entries[0], attempts=1), 9.0)
    second = play.take()
    assert second is not None
    assert second.is_alone
    play.succeed(second)


def test_a_loss_after_an_answer_is_the_first_one_again() -> None:
    play = Play([entry(1, "a")])
    for end in (End.LOST, End.FAILED, End.LOST, End.UNSENT):
        call = play.take()
        assert call is not None
        assert not call.is_alone
        if play.schedule.fail(call, end):
            play.schedule.put_off(call, call.entries[0], 0.0)


def test_expired_entries_are_handed_out_apart() -> None:
    play = Play([entry(1, expires=5.0), entry(2, put_at=1.0, expires=5.0), entry(3)])
    play.read_all()
    call, expired = play.schedule.take(0.0, 2e9 + 10)
    assert [each.position for each in expired] == [1]
    assert call is not None
    assert call.entries[0].position == 2


def test_a_reset_reads_again_but_not_what_is_under_way() -> None:
    play = Play([entry(n, f"k{n}") for n in range(1, 5)])
    call = play.take()
    assert call is not None
    del play.store.entries[3]
    play.store.revision += 1
    other = play.take()
    assert other is not None
    assert other.entries[0].position == 2
    assert not play.schedule.fail(call, End.UNSENT)
    del play.store.entries[1]  # dropped while it was under way
    play.succeed(other)
    play.store.revision += 1
    assert play.positions() == [4]


def test_an_answer_from_before_a_reset_leaves_nothing_out() -> None:
    play = Play([entry(n, f"k{n}") for n in range(1, 601)])
    first = play.schedule.next_reading()
    assert first is not None
    play.schedule.add(first, play.store.read(first), play.now, 2e9)
    second = play.schedule.next_reading()
    assert second is not None
    assert second.after == 500
    play.schedule.reset()
    play.schedule.add(second, play.store.read(second), play.now, 2e9)
    assert play.positions() == list(range(1, 601))


def test_with_too_many_blocked_keys_reading_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCKED", 3)
    monkeypatch.setattr(module, "WINDOW", 4)
    play = Play([entry(n, f"k{n}") for n in range(1, 50)])
    while (call := play.take()) is not None:
        assert play.schedule.fail(call, End.FAILED)
        play.schedule.put_off(call, call.entries[0], 9.0)
    assert play.schedule.next_due() == 9.0


FAILURES = {"fail": End.FAILED, "lost": End.LOST, "unsent": End.UNSENT, "refused": End.REFUSED}


def positions(calls: list[Call]) -> set[int]:
    return {each.position for call in calls for each in call.entries}


def is_in_order(found: Iterable[int]) -> bool:
    return (of_key := list(found)) == sorted(of_key)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.booleans()), min_size=1, max_size=60),
    st.lists(st.sampled_from(["ok", "ok", "ok", "drop", *FAILURES]), max_size=200),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_any_play_delivers_each_entry_once_and_in_order(
    entries: list[tuple[str | None, bool]], ends: list[str], lanes: int, random: Any
) -> None:
    made = [entry(n, key, method="StoreAll" if batch else "Store") for n, (key, batch) in enumerate(entries, 1)]
    play = Play(made, {"StoreAll": 5})
    keys = {each.position: each.key for each in made}
    delivered: list[int] = []
    under_way: list[Call] = []
    while True:
        while len(under_way) < lanes and (call := play.take()) is not None:
            busy = {each.key for other in under_way for each in other.entries}
            assert not busy & {each.key for each in call.entries}
            under_way.append(call)
        if not under_way:
            if (due := play.schedule.next_due()) is None:
                break
            play.now = due
            continue
        call = under_way.pop(random.randrange(len(under_way)))
        end = ends.pop() if ends else "ok"
        if end == "drop":
            play.drop(each for each in {*play.store.entries} - positions([*under_way, call]) if each % 5 == 0)
        if end not in FAILURES:
            delivered += [each.position for each in call.entries]
            play.succeed(call)
        elif play.schedule.fail(call, FAILURES[end]):
            play.schedule.put_off(call, attrs.evolve(call.entries[0], attempts=1), play.now + 1.0)
    assert not play.store.entries
    assert len(delivered) == len(set(delivered))
    assert all(is_in_order(position for position in delivered if keys[position] == key) for key in {*keys.values()})
