"""What crosses between threads crosses in batches: counted, since a clock would prove nothing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.small_hub import SmallHub

from signalr_sdk.sync import HubConnection, Upload, daemon_threads, loop_use
from signalr_sdk.sync.uploads import UploadQueue

from .conftest import until

if TYPE_CHECKING:
    from .conftest import Background, Served


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What crosses to the loop's thread."""
    calls: list[object] = []
    result = loop_use._Call.result

    def count(call: loop_use._Call) -> Any:
        calls.append(call)
        return result(call)

    monkeypatch.setattr(loop_use._Call, "result", count)
    return calls


def test_items_of_a_stream(hub: HubConnection, calls: list[object]) -> None:
    numbers = hub.stream("Counter", 1000, 0, buffer=1000)
    first = next(numbers)
    queue = numbers._source._queue
    until(lambda: queue.ended)
    calls.clear()
    assert [first, *numbers] == list(range(1000))
    assert len(calls) <= 5  # 1000 items by 256, and the end


def test_events_of_an_iterator(hub: HubConnection, calls: list[object]) -> None:
    events = hub.messages("Event")
    hub.invoke("Flood", "Event", 1000, 1)
    until(lambda: len(events._source._queue.messages) == 1000)
    calls.clear()
    assert [next(events)[0] for _ in range(1000)] == list(range(1000))
    assert len(calls) == 4


def test_events_for_handlers(hub: HubConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[object] = []
    run, got, go = daemon_threads.Worker.run, list[int](), threading.Event()

    def count(worker: daemon_threads.Worker, function: Any) -> Any:
        jobs.append(function)
        return run(worker, function)

    monkeypatch.setattr(daemon_threads.Worker, "run", count)

    @hub.on("Event")
    def take(number: int, _text: str) -> None:
        go.wait(5)
        got.append(number)

    hub.invoke("CallMe", "Event", [-1, ""])
    until(lambda: jobs)
    hub.invoke("Flood", "Event", 1000, 1)
    until(lambda: len(hub._hub._dispatcher._queue.messages) == 1000)
    go.set()
    until(lambda: len(got) == 1001)
    assert got == list(range(-1, 1000))
    assert len(jobs) == 5


def test_messages_that_are_sent(background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    small = background.enter(SmallHub().running())
    with HubConnection(small.url) as hub:
        posted: list[int] = []
        put_now = hub._hub.put_now

        def count(messages: list[bytes]) -> bool:
            posted.append(len(messages))
            return put_now(messages)

        monkeypatch.setattr(hub._hub, "put_now", count)
        go = threading.Event()
        holding = threading.Thread(target=lambda: hub._loop_use.call(go.wait, 5))
        holding.start()
        for number in range(200):
            hub.send("Log", number)
        go.set()
        holding.join()
        until(lambda: small.calls.qsize() == 200)
        assert sum(posted) == 200
        assert len(posted) <= 3


def test_items_of_an_upload(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    move = UploadQueue._move

    def count(queue: UploadQueue) -> bool:
        found = move(queue)
        taken.append(len(queue._batch))
        return found

    monkeypatch.setattr(UploadQueue, "_move", count)
    with served.client() as hub:
        upload: Upload[int] = Upload()
        for _ in range(64):
            upload.send(1)
        upload.close()
        assert hub.invoke("Sum", upload) == 64
    assert taken[0] == 64
