"""The one guard for users' code: what its exceptions mean, and how code that does not end is left behind."""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from tests.doubles import without_waiting
from tests.users.wrongs import NastyError, Outcome

from signalr_sdk import SignalRError
from signalr_sdk._core.logs import ConnectionLogs
from signalr_sdk._guard.foreign import BoundExceeded, bounded, cut_off, error_of, forget_locals, text_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LOG = ConnectionLogs("http://hub.test/chat").hub


def on_thread(work: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


# What an exception means


@pytest.mark.parametrize("raised", [ValueError("wrong"), OSError(5, "wrong"), SignalRError("ours"), TimeoutError()])
def test_an_exception_with_a_text_stays_what_it_is(raised: Exception) -> None:
    assert error_of(raised, "a handler") is raised


@pytest.mark.parametrize(
    "raised",
    [Outcome("failed"), GeneratorExit(), NastyError(), StopIteration(), StopAsyncIteration(), asyncio.CancelledError()],
)
async def test_another_one_is_an_error_of_ours_with_a_text(raised: BaseException) -> None:
    error = error_of(raised, "a handler")
    assert isinstance(error, SignalRError)
    assert str(error).startswith("a handler ")
    assert error.__cause__ is raised


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_program_passes_through_on_the_main_thread_only(kind: type[BaseException]) -> None:
    with pytest.raises(kind):
        error_of(kind(), "a handler")
    assert isinstance(on_thread(lambda: error_of(kind(), "a handler")), SignalRError)


def test_a_coroutine_that_is_closed_without_an_event_loop_ends() -> None:
    with pytest.raises(GeneratorExit):
        error_of(GeneratorExit(), "a handler")


async def test_a_cancellation_of_the_task_itself_passes_through() -> None:
    async def run() -> None:
        try:
            await asyncio.Event().wait()
        except BaseException as raised:  # noqa: BLE001 - as the package does
            raise error_of(raised, "a handler") from None

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_every_exception_has_a_text() -> None:
    assert text_of(ValueError("wrong")) == "wrong"
    assert text_of(ValueError()) == "ValueError"
    assert text_of(NastyError()) == "NastyError"
    text_of(ValueError("\ud800")).encode()


def test_the_locals_of_our_frames_go_and_those_of_users_stay() -> None:
    def users() -> None:
        kept = "kept"
        raise ValueError(kept)

    with pytest.raises(ValueError, match="kept") as caught:
        users()
    forget_locals(caught.value)
    frames = [frame for frame, _line in traceback.walk_tb(caught.value.__traceback__)]
    assert frames[-1].f_locals == {"kept": "kept"}


# Code that has a limit


async def stubborn(released: asyncio.Event) -> str:
    while not released.is_set():
        try:
            await released.wait()
        except asyncio.CancelledError:
            continue
    return "late"


@without_waiting
async def test_what_ends_in_time() -> None:
    async def answer() -> str:
        await asyncio.sleep(1)
        return "token"

    assert await bounded(answer(), 2, whose="the provider", patience=1, log=LOG) == "token"
    assert await bounded(answer(), None, whose="the provider", patience=1, log=LOG) == "token"


@without_waiting
async def test_what_takes_too_long_is_cancelled() -> None:
    cancelled: list[bool] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    with pytest.raises(BoundExceeded):
        await bounded(hang(), 2, whose="the provider", patience=1, log=LOG)
    assert cancelled == [True]


@pytest.mark.parametrize("how", ["limit", "cancelled"])
@without_waiting
async def test_what_swallows_its_cancellation_is_left_behind(how: str, caplog: pytest.LogCaptureFixture) -> None:
    released = asyncio.Event()
    waiting = asyncio.create_task(bounded(stubborn(released), 5, whose="the provider", patience=1, log=LOG))
    await asyncio.sleep(1)
    if how == "cancelled":
        waiting.cancel()
    began = asyncio.get_running_loop().time()
    await asyncio.wait({waiting})
    assert asyncio.get_running_loop().time() - began == pytest.approx(1 if how == "cancelled" else 5)
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith(
        "the provider was cancelled and does not end: it is left behind in stubborn ("
    )
    assert waiting.cancelled() or isinstance(waiting.exception(), BoundExceeded)
    released.set()
    await asyncio.sleep(0)


def _cancel_provider() -> None:
    for task in asyncio.all_tasks():
        if task.get_name() == "signalr_sdk the provider":
            task.cancel()


@without_waiting
async def test_what_is_cancelled_by_others_is_an_error() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    waiting = asyncio.create_task(bounded(hang(), None, whose="the provider", patience=1, log=LOG))
    await asyncio.sleep(1)
    _cancel_provider()
    with pytest.raises(SignalRError, match="the provider was cancelled from inside"):
        await waiting


@without_waiting
async def test_what_never_began_is_closed() -> None:
    """Python warns of coroutines that nobody has awaited."""

    async def work() -> None:
        raise AssertionError("it was cancelled before")

    waiting = asyncio.create_task(bounded(work(), None, whose="the provider", patience=1, log=LOG))
    _cancel_provider()  # there is one already with eager tasks
    asyncio.get_running_loop().call_soon(_cancel_provider)
    with pytest.raises(SignalRError):
        await waiting


@pytest.mark.parametrize("when", ["in time", "late", "as the wait is cancelled"])
@without_waiting
async def test_a_result_that_nobody_wants_is_taken_back(when: str, caplog: pytest.LogCaptureFixture) -> None:
    released, undone = asyncio.Event(), list[str]()

    async def undo(result: str) -> None:
        undone.append(result)

    task = asyncio.create_task(stubborn(released))
    await asyncio.sleep(0)
    if when == "in time":
        released.set()
    cutting = asyncio.create_task(cut_off(task, 1, whose="an attempt", log=LOG, undo=undo))
    if when == "as the wait is cancelled":
        await asyncio.sleep(0)
        released.set()
        await task
        cutting.cancel()
    await asyncio.wait({cutting})
    assert len(caplog.records) == (when == "late")
    released.set()
    await asyncio.sleep(1)
    assert undone == ["late"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_on_a_thread_it_does_not_stop_the_event_loop(kind: type[BaseException]) -> None:
    async def work() -> None:
        raise kind

    async def use() -> BaseException:
        try:
            await bounded(work(), 1, whose="the provider", patience=1, log=LOG)
        except BaseException as error:  # noqa: BLE001 - it is looked at
            return error
        raise AssertionError("it has ended")

    assert isinstance(on_thread(lambda: asyncio.run(use())), SignalRError)


@pytest.mark.parametrize(
    "work", [lambda: asyncio.sleep(0, "token"), lambda: asyncio.ensure_future(asyncio.sleep(0, "token"))]
)
async def test_any_awaitable_will_do(work: Callable[[], Awaitable[str]]) -> None:
    assert await bounded(work(), 1, whose="the provider", patience=1, log=LOG) == "token"
