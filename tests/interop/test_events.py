"""Events of the hub, and its questions."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import HubError

from .hubs import hub_at

if TYPE_CHECKING:
    import logging

    from tests.python_server import AnyServer

    from .conftest import Combination

ASK_FAILED = "An unexpected error occurred invoking 'AskCaller' on the server. HubException: "


async def test_arguments_arrive_as_they_were_sent(any_server: AnyServer, combination: Combination) -> None:
    arguments = [1, "a", None, {"b": 2.5}, [True, []]]
    async with hub_at(any_server, combination) as hub:
        events = hub.messages("Event")
        await hub.invoke("CallMe", "Event", arguments)
        assert await events.next(timeout=5) == tuple(arguments)
        await hub.invoke("CallMe", "EVENT", [])
        assert await events.next(timeout=5) == ()
        await any_server.send("Event", 1, "a", None, {"b": 2.5}, connection_id=hub.connection_id)
        assert await events.next(timeout=5) == (1, "a", None, {"b": 2.5})


async def test_several_events_in_the_order_sent(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        hub.on("Asked", lambda question: question.upper())
        both, all_ = hub.events("price", "TRADE"), hub.events()
        for number in range(20):
            await hub.send("CallMe", "Price", ["MSFT", number])
            await hub.send("CallMe", "Trade", ["MSFT", number])
        assert await hub.invoke("AskCaller", "Asked", "why") == "WHY"
        expected = [(name, ("MSFT", number)) for number in range(20) for name in ("Price", "Trade")]
        for events in (both, all_):
            assert [await events.next(timeout=5) for _ in expected] == expected
        await hub.invoke("CallMe", "Other", [])
        assert await all_.next(timeout=5) == ("Other", ())


async def test_wait_for(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        event = asyncio.create_task(hub.wait_for("Event", timeout=5))
        await asyncio.sleep(0)  # it subscribes
        await hub.invoke("CallMe", "Event", ["user", "text"])
        assert await event == ("user", "text")


async def test_handlers_run_in_order_and_may_call_the_hub(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        seen: list[Any] = []
        done = asyncio.Event()

        @hub.on("Event")
        async def first(number: int) -> None:
            seen.append(await hub.invoke("Add", number, 0))

        @hub.on("event")
        def second(number: int) -> None:
            seen.append(-number)
            if number == 3:
                done.set()

        for number in (1, 2, 3):
            await hub.send("CallMe", "Event", [number])
        await done.wait()
        assert seen == [1, -1, 2, -2, 3, -3]


async def test_a_flood_arrives_complete_and_in_order(any_server: AnyServer, combination: Combination) -> None:
    seen: list[int] = []
    done = asyncio.Event()
    async with hub_at(any_server, combination) as hub:

        @hub.on("Flood")
        async def take(number: int, text: str) -> None:
            assert text == "xxxxxxxxxx"
            await asyncio.sleep(0)
            seen.append(number)
            if number == 19_999:
                done.set()

        await hub.invoke("Flood", "Flood", 20_000, 10)
        await done.wait()
    assert seen == list(range(20_000))


async def test_an_event_without_a_handler(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        await hub.invoke("CallMe", "Unheard", [1])
        unheard: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        hub.on_any(lambda event, args: unheard.set_result((event, args)))
        await hub.invoke("CallMe", "Other", [2])
        event, args = await unheard
        assert (event, list(args)) == ("Other", [2])


async def test_a_handler_that_fails(
    expected_errors: list[logging.LogRecord], any_server: AnyServer, combination: Combination
) -> None:
    async with hub_at(any_server, combination) as hub:
        errors: asyncio.Queue[Exception] = asyncio.Queue()
        hub.on_error(errors.put_nowait)
        hub.on("Event", lambda _one, _two: None)
        await hub.invoke("CallMe", "Event", ["only one"])
        assert isinstance(await errors.get(), TypeError)
        assert await hub.invoke("Add", 1, 2) == 3


async def test_all_and_others(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as one, hub_at(any_server, combination) as two:
        of_one, of_two = one.messages("Event"), two.messages("Event")
        await one.invoke("SendToOthers", "Event", "others")
        await one.invoke("SendToAll", "Event", {"n": [1]})
        assert await of_one.next(timeout=5) == ({"n": [1]},)
        assert await of_two.next(timeout=5) == ("others",)
        assert await of_two.next(timeout=5) == ({"n": [1]},)


async def test_users(any_server: AnyServer, combination: Combination) -> None:
    async with AsyncExitStack() as stack:
        hubs = [
            await stack.enter_async_context(hub_at(any_server, combination, access_token=await any_server.token(user)))
            for user in ("ada", "bob")
        ]
        of_ada, of_bob = (hub.messages("Event") for hub in hubs)
        await hubs[0].invoke("SendToUser", "bob", "Event", "for bob")
        await hubs[1].invoke("SendToUser", "ada", "Event", "for ada")
        assert await of_ada.next(timeout=5) == ("for ada",)
        assert await of_bob.next(timeout=5) == ("for bob",)


async def test_groups(any_server: AnyServer, combination: Combination) -> None:
    group = f"group {combination}"
    async with hub_at(any_server, combination) as one, hub_at(any_server, combination) as two:
        of_one, of_two = one.messages("Event"), two.messages("Event")
        await one.invoke("JoinGroup", group)
        await two.invoke("JoinGroup", group)
        await one.invoke("SendToGroup", group, "Event", 1)
        assert await of_one.next(timeout=5) == (1,)
        assert await of_two.next(timeout=5) == (1,)
        await two.invoke("LeaveGroup", group)
        await one.invoke("SendToGroup", group, "Event", 2)
        await one.invoke("SendToAll", "Event", 3)
        assert [await of_one.next(timeout=5), await of_one.next(timeout=5)] == [(2,), (3,)]
        assert await of_two.next(timeout=5) == (3,)


# The hub asks


async def test_answers(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        hub.on("Ask", lambda question: question + "!")
        assert await hub.invoke("AskCaller", "Ask", "hi") == "hi!"

        @hub.on("Number")
        async def add(a: int, b: int) -> int:
            total: int = await hub.invoke("Add", a, b)
            return total

        assert await hub.invoke("AskCallerForNumber", "Number", 1, -1) == 0
        assert await hub.invoke("AskCallerForNumber", "Number", 2, 3) == 5


async def test_the_answer_may_be_none(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        hub.on("Ask", lambda _question: None)
        assert await hub.invoke("AskCaller", "Ask", "hi") is None


async def test_no_answer_and_too_many(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        with pytest.raises(HubError) as missing:
            await hub.invoke("AskCaller", "Ask", "hi")
        assert str(missing.value) == ASK_FAILED + "Client didn't provide a result."
        hub.on("Ask", lambda _question: "one")
        hub.on("Ask", lambda _question: "two")
        with pytest.raises(HubError) as several:
            await hub.invoke("AskCaller", "Ask", "hi")
        assert str(several.value) == ASK_FAILED + "Client provided multiple results."


async def test_a_question_that_fails(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:

        @hub.on("Ask")
        async def fail(_question: str) -> str:
            raise ValueError("no")

        with pytest.raises(HubError) as caught:
            await hub.invoke("AskCaller", "Ask", "hi")
        assert str(caught.value) == ASK_FAILED + "no"


async def test_an_answer_of_the_wrong_type_fails_the_asker(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        hub.on("Number", lambda _a, _b: "text")
        with pytest.raises(HubError):
            await hub.invoke("AskCallerForNumber", "Number", 1, 2)
        assert await hub.invoke("Add", 1, 2) == 3


async def test_an_answer_that_cannot_be_encoded_fails_the_asker(
    expected_errors: list[logging.LogRecord], any_server: AnyServer, combination: Combination
) -> None:
    async with hub_at(any_server, combination) as hub:
        hub.on("Ask", lambda _question: object())
        with pytest.raises(HubError, match="HubException: "):
            await hub.invoke("AskCaller", "Ask", "hi")
        assert await hub.invoke("Add", 1, 2) == 3


async def test_one_client_asks_another(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as one, hub_at(any_server, combination) as two:
        two.on("Ask", lambda question: question[::-1])
        answers = await asyncio.gather(*(one.invoke("AskClient", two.connection_id, "Ask", f"q{i}") for i in range(20)))
    assert answers == [f"{i}"[::-1] + "q" for i in range(20)]


async def test_questions_do_not_wait_for_events(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        go_on = asyncio.Event()
        hub.on("Slow", go_on.wait)
        hub.on("Ask", lambda question: question)
        await hub.invoke("CallMe", "Slow", [])
        assert await hub.invoke("AskCaller", "Ask", "hi") == "hi"
        go_on.set()
