"""The recipes of the page on reconnecting, as they stand there, against a server that comes and goes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.doubles import without_waiting
from tests.scripted_host import Host, now, settle

import signalr_sdk
from signalr_sdk import ConnectionClosedError, ConnectionState, HubConnection, NegotiationError, Retry, SetupError

PAGE = (Path(__file__).parents[1] / "docs" / "topics" / "reconnecting.md").read_text(encoding="utf-8")
RECIPES = PAGE[PAGE.index("## Recipes") :]


def run(heading: str, **names: Any) -> dict[str, Any]:
    """Run the code under a heading; return all that it has names for."""
    section = re.split(r"^### ", RECIPES, flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(heading + "\n"))
    public = {name: getattr(signalr_sdk, name) for name in signalr_sdk.__all__}
    there: dict[str, Any] = {**public, "asyncio": asyncio, "Callable": Callable, **names}
    for block in re.findall(r"^```python\n(.+?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(block, there)
    return there


class HubOf:
    """Makes the hub connections of a recipe talk to the scripted server."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __call__(self, _url: str, **options: Any) -> HubConnection:
        return self._host.server.hub(**options)


@without_waiting
async def test_join_groups_again() -> None:
    async with Host() as host:
        hub = host.server.hub(reconnect=True)
        run("Join groups again", hub=hub)
        starting = asyncio.create_task(hub.start())
        for _ in range(3):
            await settle()
            call = await host.sockets[-1].next()
            assert (call["target"], call["arguments"]) == ("JoinGroup", ["blue"])
            assert hub.state is not ConnectionState.CONNECTED
            host.sockets[-1].answer(call)
            await hub.wait_connected()
            host.go_away(up=True)
            await asyncio.sleep(5)
        await starting
        await hub.stop()


@without_waiting
async def test_a_set_up_that_the_hub_refuses() -> None:
    """The error of the hub is a reason to give up; a set-up that is lost is none."""
    async with Host() as host:
        policy = run("Join groups again", hub=host.server.hub())["GiveUpOnRefusal"]()
        hub = host.server.hub(reconnect=policy, retry_start=True)
        hub.on_setup(lambda _connection_id: hub.invoke("LogIn", "password"))
        starting = asyncio.create_task(hub.start())
        await settle()
        await host.sockets[-1].next()
        host.go_away(up=True)
        await asyncio.sleep(5)
        host.sockets[-1].fail(await host.sockets[-1].next(), "wrong password")
        with pytest.raises(SetupError, match="wrong password"):
            await starting


@without_waiting
async def test_reconnect_now() -> None:
    async with Host() as host:
        hub = host.server.hub(reconnect=Retry.delays(3600), retry_start=True)
        network_changed = run("Reconnect now", hub=hub)["network_changed"]
        async with hub:
            host.go_away()
            await asyncio.sleep(60)
            host.up = True
            since = now()
            await network_changed()
            assert hub.state is ConnectionState.CONNECTED
            await network_changed()
            assert (now(), len(host.taken)) == (since, 3)


@without_waiting
async def test_retry_for_ever() -> None:
    async with Host() as host:
        names = run("Retry for ever", url="http://hub.test/chat", HubConnection=HubOf(host))
        hub: HubConnection = names["hub"]
        host.up = False
        for_ever = asyncio.create_task(hub.run())
        await asyncio.sleep(10_800)
        assert hub.state is ConnectionState.CONNECTING
        host.up = True
        await hub.wait_connected()
        losses: asyncio.Queue[Exception] = asyncio.Queue()
        hub.on_reconnecting(losses.put_nowait)
        for close in ({}, {"error": "no more"}):
            host.sockets[-1].say({"type": 7, **close})
            assert isinstance(await losses.get(), ConnectionClosedError)
            await hub.wait_connected()
        for_ever.cancel()
        await asyncio.wait({for_ever})
        assert for_ever.cancelled()


@without_waiting
async def test_give_up_after_an_hour() -> None:
    async with Host() as host:
        hub: HubConnection = run("Give up after an hour", url="http://hub.test/chat", HubConnection=HubOf(host))["hub"]
        await hub.start()
        await asyncio.sleep(60)
        host.go_away()
        lost_at = now()
        with pytest.raises(NegotiationError, match="nobody listens"):
            await hub.wait_closed()
        assert 3600 <= now() - lost_at <= 3630


@without_waiting
async def test_alert_after_so_many_failures() -> None:
    async with Host() as host:
        alerts: list[Exception | None] = []
        hub: HubConnection = run(
            "Alert after so many failures",
            url="http://hub.test/chat",
            HubConnection=HubOf(host),
            page_somebody=alerts.append,
        )["hub"]
        await hub.start()
        for _ in range(2):
            alerts.clear()
            host.go_away()
            before = len(host.arrivals)
            await asyncio.sleep(3600)
            assert len(host.arrivals) - before > 5
            assert [type(alert) for alert in alerts] == [NegotiationError]
            host.up = True
            await hub.wait_connected()
            await asyncio.sleep(20)
        await hub.stop()


@without_waiting
async def test_several_servers_and_sticky_sessions() -> None:
    """Against two servers: tests/interop/test_backplane.py."""
    async with Host() as host:
        hub: HubConnection = run(
            "Several servers, and sticky sessions", url="http://hub.test/chat", HubConnection=HubOf(host)
        )["hub"]
        async with hub:
            assert host.arrivals == []


def test_every_recipe_is_tested() -> None:
    headings = re.findall(r"^### (.+)$", RECIPES, re.MULTILINE)
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {re.sub(r"\W+", "_", heading.lower()) for heading in headings} < tests
