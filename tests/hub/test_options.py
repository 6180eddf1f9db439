"""The types of options that are handed on say what the constructors take."""

from __future__ import annotations

import asyncio
import copy
import inspect
import math
import pickle
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ForwardRef

import attrs
import pytest

from signalr_sdk import (
    Connection,
    HubConnection,
    Limits,
    NotConnectedError,
    Timeouts,
    Transport,
    Upload,
    sync,
)
from signalr_sdk._hub.options import HubOptions
from signalr_sdk.azure import AzureSignalR
from signalr_sdk.sync.azure import SyncHubOptions
from signalr_sdk.testing import Hub, HubServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scripted import ScriptedServer


def annotations_of(options: Any) -> dict[str, str]:
    """Return the annotation of each key, as the source has it."""
    found: dict[str, ForwardRef] = options.__annotations__
    return {name: annotation.__forward_arg__ for name, annotation in found.items()}


@pytest.mark.parametrize(("options", "taker"), [(HubOptions, HubConnection), (SyncHubOptions, sync.HubConnection)])
def test_the_options_are_those_of_the_constructor(options: Any, taker: Callable[..., object]) -> None:
    parameters = inspect.signature(taker).parameters
    expected = {name: parameter.annotation for name, parameter in parameters.items()}
    del expected["url"], expected["access_token"]
    assert annotations_of(options) == expected


# What is passed in


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), True, "5"])
def test_a_timeout_is_a_positive_number(wrong: Any) -> None:
    with pytest.raises(ValueError, match="positive number of seconds or None"):
        Timeouts(connect=wrong)


@pytest.mark.parametrize("wrong", [-1, float("nan"), False, "5"])
def test_a_call_need_not_wait_for_a_connection(wrong: Any) -> None:
    assert Timeouts(ready=0).ready == 0
    with pytest.raises(ValueError, match="from 0 on"):
        Timeouts(ready=wrong)


async def test_a_call_that_may_not_wait_fails_at_once(server: ScriptedServer) -> None:
    hub = server.hub(timeouts=Timeouts(ready=0))
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    with pytest.raises(NotConnectedError, match="within 0 s"):
        await hub.invoke("Add", 1, 2)
    await socket.shake_hands()
    await start
    call = asyncio.create_task(hub.invoke("Add", 1, 2))
    assert (await socket.next())["target"] == "Add"
    call.cancel()
    await hub.stop()


class Chat(Hub):
    async def say(self, text: str) -> str:
        await self.clients.all.send("said", text)
        return text

    async def count(self, n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("limit", [2**31 - 1, 2**31, 2**32, 2**63])
async def test_limits_may_be_as_large_as_a_user_likes(limit: int, transport: Transport) -> None:
    limits = Limits(**{field.name: limit for field in attrs.fields(Limits)})
    async with (
        HubServer({"/chat": Chat}) as server,
        HubConnection(server.url("/chat"), transports=transport, limits=limits) as hub,
    ):
        messages = hub.messages("said", buffer=limit)
        assert await hub.invoke("Say", "hello") == "hello"
        assert await messages.next() == ("hello",)
        assert [item async for item in hub.stream("Count", 3, buffer=limit)] == [0, 1, 2]


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("seconds", [1e9, math.inf])
async def test_timeouts_may_be_as_long_as_a_user_likes(seconds: float, transport: Transport) -> None:
    timeouts = Timeouts(**{field.name: seconds for field in attrs.fields(Timeouts)})
    async with (
        HubServer({"/chat": Chat}) as server,
        HubConnection(server.url("/chat"), transports=transport, timeouts=timeouts) as hub,
    ):
        assert await hub.invoke("Say", "hello") == "hello"


URL = "http://127.0.0.1:9/hub"
CONNECTION_STRING = "Endpoint=http://127.0.0.1:9;AccessKey=a;Version=1.0;"


@pytest.mark.parametrize(
    "make",
    [
        lambda: HubConnection(URL),
        lambda: HubConnection(URL).stream("Counter"),
        lambda: HubConnection(URL).messages("said"),
        lambda: HubConnection(URL).events("said", "heard"),
        lambda: Connection(URL),
        Upload,
        lambda: Upload([1]),
        lambda: AzureSignalR(CONNECTION_STRING, "chat"),
        lambda: sync.HubConnection(URL),
        lambda: sync.HubConnection(URL).stream("Counter"),
        lambda: sync.HubConnection(URL).messages("said"),
        lambda: sync.HubConnection(URL).events(),
        lambda: sync.Connection(URL),
        sync.Upload,
        lambda: sync.Upload([1]),
        lambda: sync.AzureSignalR(CONNECTION_STRING, "chat"),
    ],
)
def test_what_belongs_to_an_event_loop_is_not_pickled_nor_copied(make: Callable[[], object]) -> None:
    made = make()
    uses: list[Callable[[object], object]] = [pickle.dumps, copy.copy, copy.deepcopy]
    for use in uses:
        with pytest.raises(TypeError, match=f"a {type(made).__name__} cannot be pickled or copied"):
            use(made)
