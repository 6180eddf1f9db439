"""Uploads from threads: pulled and fed off the loop's thread, bounded, and closed in every case."""

from __future__ import annotations

import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

import signalr_sdk
from signalr_sdk import HubError, LocalProtocolError, StateError
from signalr_sdk.sync import HubConnection, Upload
from signalr_sdk.sync.uploads import UploadQueue

from .conftest import until

if TYPE_CHECKING:
    import logging
    from collections.abc import AsyncIterator, Iterator

    from .conftest import Served


class Source:
    """Yields numbers, or waits for good after some; notes where and how it ended."""

    def __init__(self, count: int, *, then: BaseException | None = None, wait: bool = False) -> None:
        self.count = count
        self.then = then
        self.wait = wait
        self.go = threading.Event()
        self.threads: set[str] = set()
        self.pulled = 0
        self.closed = threading.Event()

    def numbers(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                self.threads.add(threading.current_thread().name)
                self.pulled += 1
                yield number
            if self.wait:
                self.go.wait(9)
            if self.then is not None:
                raise self.then
        finally:
            self.threads.add(threading.current_thread().name)
            self.closed.set()


def test_generators_are_pulled_on_a_thread(hub: HubConnection) -> None:
    source = Source(1000)
    assert hub.invoke("Sum", source.numbers()) == 499_500
    assert source.threads == {"signalr_sdk upload"}
    assert source.closed.is_set()
    assert hub.invoke("SumFrom", 10, (number for number in (1, 2))) == 13
    assert hub.invoke("Zip", (c for c in "abc"), Upload("123")) == ["a1", "b2", "c3"]
    assert list(hub.stream("Uppercase", (c for c in "abc"))) == ["A", "B", "C"]


def test_a_slow_source_is_sent_item_by_item(hub: HubConnection) -> None:
    source: SimpleQueue[str | None] = SimpleQueue()
    upper = hub.stream("Uppercase", (item for item in iter(source.get, None)))
    for text in "abc":
        source.put(text)
        assert next(upper) == text.upper()
    source.put(None)
    assert list(upper) == []


def test_uploads_are_fed_from_any_thread(hub: HubConnection) -> None:
    upload: Upload[int] = Upload()
    answer: SimpleQueue[int] = SimpleQueue()
    asking = threading.Thread(target=lambda: answer.put(hub.invoke("Sum", upload)))
    asking.start()

    def feed() -> None:
        for _ in range(500):
            upload.send(1)

    feeding = [threading.Thread(target=feed) for _ in range(4)]
    for thread in feeding:
        thread.start()
    for thread in feeding:
        thread.join()
    upload.close()
    upload.close()
    assert answer.get(timeout=5) == 2000
    asking.join()
    with pytest.raises(StateError, match="closed"):
        upload.send(1)


def test_an_upload_that_is_fed_is_bounded(hub: HubConnection, served: Served) -> None:
    upload: Upload[str] = Upload()
    sent: list[int] = []

    def feed() -> None:
        for number in range(100):
            upload.send(str(number))
            sent.append(number)
        upload.close()

    feeding = threading.Thread(target=feed)
    feeding.start()
    until(lambda: len(sent) == 64)
    hub.send("RecordAll", upload)
    feeding.join()
    until(lambda: served.saw("upload-ended", "completed"))
    assert [event.detail for event in served.board.seen if event.kind == "recorded"] == [str(n) for n in range(100)]


def test_misuse(hub: HubConnection) -> None:
    with pytest.raises(TypeError, match="an Upload needs an iterable"):
        Upload(1)  # type: ignore[arg-type]  # as said
    upload = Upload([1, 2])
    with pytest.raises(StateError, match="streams an iterable"):
        upload.send(3)
    with pytest.raises(StateError, match="streams an iterable"):
        upload.close()
    assert hub.invoke("Sum", upload) == 3
    with pytest.raises(StateError, match="used already"):
        hub.invoke("Sum", upload)

    async def items() -> AsyncIterator[int]:
        yield 1

    for wrong in (items(), signalr_sdk.Upload([1])):
        with pytest.raises(TypeError, match="not async iterables"):
            hub.invoke("Sum", wrong)
        with pytest.raises(TypeError, match="not async iterables"):
            hub.send("RecordAll", wrong)


def test_an_error_of_the_source_is_told_the_hub(hub: HubConnection, served: Served) -> None:
    hub.send("RecordAll", Source(0, then=ValueError("it broke")).numbers())
    until(lambda: served.saw("upload-ended", "it broke"))
    upload: Upload[str] = Upload()
    hub.send("RecordAll", upload)
    upload.close(RuntimeError("given up"))
    until(lambda: served.saw("upload-ended", "given up"))


def test_an_item_that_cannot_be_encoded(hub: HubConnection) -> None:
    with pytest.raises(LocalProtocolError):
        hub.invoke("Sum", (object() for _ in range(3)))
    assert hub.invoke("Add", 1, 2) == 3


def test_the_source_is_closed_when_the_call_ends_first(hub: HubConnection) -> None:
    source = Source(1_000_000_000)
    with pytest.raises(HubError, match="enough"):
        hub.invoke("TakeThenThrow", source.numbers(), 2)
    assert source.closed.wait(5)
    assert source.threads == {"signalr_sdk upload"}
    upload: Upload[int] = Upload()
    upload.send(1)
    with pytest.raises(HubError, match="enough"):
        hub.invoke("TakeThenThrow", upload, 1)

    def feed() -> None:
        while True:
            upload.send(1)

    with pytest.raises(StateError, match="over"):
        feed()


def test_the_source_is_closed_when_it_was_never_started(served: Served) -> None:
    hub = served.client()
    started = Source(1)
    half = Source(5)
    begun = half.numbers()
    next(begun)
    with pytest.raises(signalr_sdk.NotConnectedError):
        hub.invoke("Zip", started.numbers(), begun)
    assert half.closed.wait(5)
    assert started.pulled == 0


def test_stop_does_not_wait_for_a_source_that_blocks(served: Served) -> None:
    source = Source(3, wait=True)
    with served.client() as hub:
        hub.send("RecordAll", (str(number) for number in source.numbers()))
        until(lambda: served.saw("recorded", "2"))
    assert not source.closed.is_set()
    source.go.set()
    assert source.closed.wait(5)


def test_an_error_in_closing_goes_to_on_error(hub: HubConnection, expected_errors: list[logging.LogRecord]) -> None:
    errors: SimpleQueue[Any] = SimpleQueue()
    hub.on_error(errors.put)

    def source() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            raise ValueError("cannot close")

    with pytest.raises(HubError, match="enough"):
        hub.invoke("TakeThenThrow", source(), 1)
    assert str(errors.get(timeout=5)) == "cannot close"


def test_an_item_that_another_thread_closes_the_upload_before_is_refused() -> None:
    """`close` comes between the check of `put` and its append: the item would never be sent."""
    queue = UploadQueue()

    class Closing(deque[Any]):
        def append(self, item: Any) -> None:
            if item == "late":
                queue.close()
            super().append(item)

    queue._items = Closing()
    assert queue.put("early")
    with pytest.raises(StateError, match="closed"):
        queue.put("late")
    assert queue._move()
    assert list(queue._batch) == ["early"]
