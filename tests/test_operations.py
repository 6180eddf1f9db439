"""The pages on running a program, as they stand there, against servers that fall silent, go away and come back."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.cli.running import environment
from tests.doubles import without_waiting
from tests.page_programs import SHOWN, blocks
from tests.scripted_host import Host, now

import signalr_sdk
from signalr_sdk import ConnectionState, HubConnection, NegotiationError
from signalr_sdk.interfaces import HttpResponse
from signalr_sdk.testing import Hub, HubServer, SimulatedNetwork

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM for event loops")


def programs(page: str, url: str, **names: Any) -> dict[str, Any]:
    """Run the code blocks of a page; return all that they have names for."""
    public = {name: getattr(signalr_sdk, name) for name in signalr_sdk.__all__}
    there: dict[str, Any] = {**public, "asyncio": asyncio, **names}
    for block in blocks(page):
        if block.kind == "python":
            exec(block.text.replace(SHOWN, url), there)
    return there


def simulated(test: Callable[[SimulatedNetwork], Awaitable[None]]) -> None:
    """Run a test on a network in memory, whose clock leaps."""
    network = SimulatedNetwork(1)
    network.run(test(network))  # type: ignore[arg-type]


# Data watchdog


class Feed(Hub):
    """A feed that says what each connection has subscribed to, until it is told to be silent."""

    subscribed: list[float]

    async def subscribe(self, symbol: str) -> None:
        self.subscribed.append(now())


async def feed(server: HubServer, spoken: dict[str, bool]) -> None:
    while True:
        await asyncio.sleep(5)
        for symbol, speaks in spoken.items():
            if speaks:
                await server.send("/chat", "Price", symbol, 1.5)


def test_a_feed_that_stops_gets_a_new_connection() -> None:
    async def play(_network: SimulatedNetwork) -> None:
        Feed.subscribed = []
        spoken = {"MSFT": True}
        async with HubServer({"/chat": Feed}) as server:
            hub: HubConnection = programs("how-to/data-watchdog.md", server.url("/chat"))["hub"]
            running, feeding = asyncio.create_task(hub.run()), asyncio.create_task(feed(server, spoken))
            await asyncio.sleep(600)
            assert len(Feed.subscribed) == 1
            spoken["MSFT"] = False
            await asyncio.sleep(130)
            assert len(Feed.subscribed) == 3
            assert 55 < Feed.subscribed[2] - Feed.subscribed[1] < 66
            for task in (feeding, running):
                task.cancel()
            await asyncio.wait({feeding, running})

    simulated(play)


def test_a_symbol_that_stops_gets_a_new_connection() -> None:
    async def play(network: SimulatedNetwork) -> None:
        spoken = {"MSFT": True, "AAPL": True}
        Feed.subscribed = []
        async with HubServer({"/chat": Feed}) as server:
            there = programs("how-to/data-watchdog.md", server.url("/chat"), print=lambda *_: None)
            hub: HubConnection = there["hub"]
            running, feeding = asyncio.create_task(there["main"]()), asyncio.create_task(feed(server, spoken))
            await asyncio.sleep(600)
            assert len(Feed.subscribed) == 1
            spoken["AAPL"] = False
            await asyncio.sleep(100)
            assert len(Feed.subscribed) == 4
            # In an outage the watchdog leaves the policy alone.
            network.refuse()
            network.cut()
            asked = 0
            reconnect = hub.reconnect

            async def counted() -> None:
                nonlocal asked
                asked += 1
                await reconnect()

            hub.reconnect = counted  # type: ignore[method-assign]
            await asyncio.sleep(600)
            assert asked == 0
            network.accept()
            spoken["AAPL"] = True
            await hub.wait_connected()
            before = len(Feed.subscribed)
            await asyncio.sleep(300)
            assert len(Feed.subscribed) == before
            for task in (feeding, running):
                task.cancel()
            await asyncio.wait({feeding, running})

    simulated(play)


# Many hubs


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_many_hubs_share_a_session_and_a_limit() -> None:
    class Snapshots(Hub):
        subscribed: int
        busy: int
        most: int

        async def subscribe(self, _symbol: str) -> None:
            cls = type(self)
            cls.busy += 1
            cls.most = max(cls.most, cls.busy)
            await asyncio.sleep(0.5)
            cls.busy -= 1
            cls.subscribed += 1

    async def play(network: SimulatedNetwork) -> None:
        Snapshots.subscribed = Snapshots.busy = Snapshots.most = 0
        async with HubServer({f"/{n}": Snapshots for n in range(150)}) as server:
            hold_all = programs("how-to/many-hubs.md", server.url("/chat"))["hold_all"]
            holding = asyncio.create_task(hold_all([server.url(f"/{n}") for n in range(150)]))
            await asyncio.sleep(60)
            assert Snapshots.subscribed == 150
            network.cut()
            await asyncio.sleep(120)
            assert Snapshots.subscribed == 300
            assert Snapshots.most == 20
            holding.cancel()
            await asyncio.wait({holding})

    simulated(play)


# Maintenance


@pytest.mark.parametrize(
    ("answer", "starts"),
    [
        (HttpResponse(503, (("Retry-After", "600"),)), True),
        (HttpResponse(503), True),
        (HttpResponse(302, (("Location", "/down"),)), False),
        (HttpResponse(200, (), b"<html>We are back soon</html>"), False),
    ],
)
@without_waiting
async def test_what_a_maintenance_page_does_by_default(answer: HttpResponse, starts: bool) -> None:
    async with Host() as host:
        hub = host.server.hub(reconnect=True, retry_start=True)
        offer, host.server.negotiate = host.server.negotiate, lambda: answer
        if not starts:
            with pytest.raises(NegotiationError) as caught:
                await hub.start()
            assert caught.value.status == answer.status
            host.server.negotiate = offer
            await hub.start()
        else:
            starting = asyncio.create_task(hub.start())
            await asyncio.sleep(60)
            assert hub.state is ConnectionState.CONNECTING
            host.server.negotiate = offer
            since = now()
            await starting
            assert (now() - since > 500) is (answer.headers != ())
        # After a loss it comes back from each of them.
        host.server.negotiate = lambda: answer
        await asyncio.sleep(60)
        host.go_away(up=True)
        await asyncio.sleep(60)
        assert hub.state is ConnectionState.RECONNECTING
        host.server.negotiate = offer
        await hub.wait_connected()
        await hub.stop()


@without_waiting
async def test_a_maintenance_page_is_asked_for_seldom() -> None:
    async with Host() as host:
        policy = programs("how-to/maintenance.md", "http://hub.test/chat")["Considerate"](signalr_sdk.Retry())
        hub = host.server.hub(reconnect=policy, retry_start=policy)
        offer = host.server.negotiate
        answer = HttpResponse(503)

        def negotiate() -> HttpResponse:
            offer()
            return answer

        host.server.negotiate = negotiate
        starting = asyncio.create_task(hub.start())
        for page in (HttpResponse(503), HttpResponse(200, (), b"<html>"), HttpResponse(302, (("Location", "/down"),))):
            answer = page
            before = len(host.arrivals)
            await asyncio.sleep(3600)
            assert 29 <= len(host.arrivals) - before <= 61
        host.server.negotiate = offer
        await starting
        await hub.stop()


@without_waiting
async def test_a_wrong_url_is_an_error_in_the_first_start_all_the_same() -> None:
    async with Host() as host:
        policy = programs("how-to/maintenance.md", "http://hub.test/chat")["Considerate"](signalr_sdk.Retry())
        host.server.negotiate = lambda: HttpResponse(404)
        with pytest.raises(NegotiationError, match="404"):
            await host.server.hub(reconnect=policy, retry_start=policy).start()


@without_waiting
async def test_a_maintenance_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    said: list[str] = []
    async with Host() as host:
        names = programs("how-to/maintenance.md", "http://hub.test/chat", print=said.append)
        hub = host.server.hub(reconnect=names["policy"], retry_start=names["policy"])
        await hub.start()
        await asyncio.sleep(60)
        offer, host.server.negotiate = host.server.negotiate, lambda: HttpResponse(503)
        host.go_away(up=True)
        await asyncio.sleep(3600)
        assert said == ["the service is down for maintenance"]
        # Who hears of its end need not wait for the policy.
        host.server.negotiate = offer
        since = now()
        await hub.reconnect()
        assert now() == since
        await hub.stop()


# Containers


class Jobs(Hub):
    async def finish(self, job: str) -> str:
        await asyncio.sleep(0.2)
        return job


@posix
@pytest.mark.timeout(30)
async def test_sigterm_lets_the_work_end(capsys: pytest.CaptureFixture[str]) -> None:
    async with HubServer({"/chat": Jobs}) as server:
        serving = asyncio.create_task(
            programs("how-to/containers.md", server.url("/chat"))["serve"](server.url("/chat"))
        )
        await server.wait_connected()
        for number in range(8):
            await server.send("/chat", "Job", f"job {number}")
        await server.wait_called("Finish")
        signal.raise_signal(signal.SIGTERM)
        await serving
        finished = {call.arguments[0] for call in server.recorded.calls if call.method == "Finish"}
        assert finished == {f"job {number}" for number in range(8)}
        await server.wait_disconnected()
        assert server.recorded.disconnects[-1].error is None
    assert capsys.readouterr().out == "stopped\n"


@posix
@pytest.mark.timeout(30)
async def test_sigterm_has_a_deadline_while_the_hub_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    async with HubServer({"/chat": Jobs}) as server:
        names = programs("how-to/containers.md", server.url("/chat"))
        names["FINISH"] = 0.5
        serving = asyncio.create_task(names["serve"](server.url("/chat")))
        await server.wait_connected()
        for number in range(8):
            await server.send("/chat", "Job", f"job {number}")
        await server.wait_called("Finish")
        with server.faults.refuse(503):
            server.faults.cut()
            signal.raise_signal(signal.SIGTERM)
            await serving
    said = capsys.readouterr().out
    assert "left undone:" in said
    assert said.endswith("stopped\n")


async def test_health_endpoints() -> None:
    async with HubServer({"/chat": Jobs}) as server:
        names = programs("how-to/containers.md", server.url("/chat"))
        hub = HubConnection(server.url("/chat"))
        runner = await names["serve_health"](hub, 0)
        (port,) = (address[1] for address in runner.addresses if address[0] == "0.0.0.0")
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as session:

            async def status(path: str) -> int:
                async with session.get(url + path) as answer:
                    return answer.status

            assert [await status(path) for path in ("/live", "/ready")] == [200, 503]
            away = asyncio.Event()
            hub.on_reconnecting(lambda _error: away.set())
            async with hub:
                assert [await status(path) for path in ("/live", "/ready")] == [200, 200]
                with server.faults.refuse(503):
                    server.faults.cut()
                    await away.wait()
                    assert hub.state is ConnectionState.RECONNECTING
                    assert [await status(path) for path in ("/live", "/ready")] == [200, 503]
        await runner.cleanup()
        impatient = names["Health"](hub, patience=0)
        assert (await impatient.live(None)).status == 503


# Django


class Shop(Hub):
    async def order(self, what: str) -> int:
        if what == "nothing":
            raise signalr_sdk.testing.HubException("order something")
        return len(what)

    async def order_paid(self, number: int) -> None:
        await self.clients.group("orders").send("OrderPaid", number)

    async def join_group(self, group: str) -> None:
        await self.groups.add(self.context.connection_id, group)


SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
import os
HUB_URL = os.environ["HUB_URL"]
"""
ASK = """
import django, json
django.setup()
from django.db import transaction
from django.test import RequestFactory
from shop.views import order_paid, place_order
for what in ("milk", "nothing"):
    answer = place_order(RequestFactory().get("/", {"what": what}))
    print(answer.status_code, json.loads(answer.content))
with transaction.atomic():
    order_paid(7)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Write the files of the page, and what Django wants beside them."""
    for block in blocks("how-to/django.md"):
        if block.kind == "python":
            name = re.match(r"# (\S+)\n", block.text)
            assert name is not None
            path = tmp_path / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    (tmp_path / "settings.py").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "ask.py").write_text(ASK, encoding="utf-8")
    for folder in ("shop", "shop/management", "shop/management/commands"):
        (tmp_path / folder / "__init__.py").write_text("", encoding="utf-8")
    return tmp_path


@posix
@pytest.mark.slow
@pytest.mark.timeout(60)
def test_django(shop: Path) -> None:
    with HubServer({"/shop": Shop}) as server:
        more = {"DJANGO_SETTINGS_MODULE": "settings", "HUB_URL": server.url("/shop"), "PYTHONPATH": "."}
        given: dict[str, Any] = {"cwd": shop, "env": environment(PYTHONUNBUFFERED="1", **more), "text": True}
        ask = [sys.executable, "-W", "error", "ask.py"]
        listening = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "django", "listen"], stdout=subprocess.PIPE, **given
        )
        try:
            server.wait_called("JoinGroup", timeout=30).result()
            # After the outage, the set-up of the next connection joins again.
            server.faults.cut()
            server.wait_called("JoinGroup", times=2, timeout=30).result()
            asked = subprocess.run(ask, capture_output=True, check=False, timeout=30, **given)
            answers = asked.stdout.splitlines()
            assert answers[0] == "200 {'order': 4}"
            assert answers[1].startswith("502 ")
            assert answers[1].endswith('order something"}')
            assert asked.stderr == ""
            assert listening.stdout is not None
            assert listening.stdout.readline() == "order 7 is paid\n"
            listening.terminate()
            assert listening.wait(timeout=30) == 0
        finally:
            listening.kill()
            listening.communicate()
    away = subprocess.run(ask, capture_output=True, check=False, timeout=30, **given)
    assert away.stdout.startswith("503 ")
