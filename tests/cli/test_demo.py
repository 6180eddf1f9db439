"""`signalr demo`: its output and its exit status."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from signalr_sdk import HandshakeError, HubConnection
from signalr_sdk.cli.step_runner import COMBINATIONS, Combination, Ending, StepResult, StepRunner, hub_over
from signalr_sdk.cli.step_table import StepTable, short_time
from signalr_sdk.cli.steps import Step
from signalr_sdk.testing import Hub, HubServer
from signalr_sdk.testing.demo_hub import DemoHub

if TYPE_CHECKING:
    from .conftest import Signalr

# Starting a process can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)

NOBODY = "http://127.0.0.1:1/hub"
STEPS = 8


class Liar(DemoHub):
    """Gives wrong answers."""

    async def add(self, a: int, b: int) -> int:
        return a - b

    async def fail(self, text: str) -> None:
        """Raise no error, which is wrong."""

    async def send_message(self, user: str, text: str) -> None:
        await self.clients.caller.send("ReceiveMessage", text, user)


class Breaker(DemoHub):
    """Ends the connection."""

    async def send_message(self, user: str, text: str) -> None:
        self.context.abort()


class Obliging(Hub):
    """Has every method."""

    async def signalr_demo_round_trip(self) -> None:
        """Answer."""


# With a server of its own


def test_everything_works_over_all_five(signalr: Signalr) -> None:
    done = signalr("demo")
    assert done.status == 0, done.out
    assert done.out.count("✓") == STEPS * len(COMBINATIONS)
    assert "All 40 steps worked" in done.out
    for said in ("Add(2, 40) = 42", "ReceiveMessage(me, hello)", "Counter(100): 100 items", "Sum(100 items) = 4950"):
        assert said in done.out
    assert "YourName? Hello, Python!" in done.out
    assert "HubError: no such room" in done.out
    assert done.err == ""


def test_at_80_columns_nothing_is_wrapped_or_cut(signalr: Signalr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = signalr("demo").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == 1 + 3 + 2 * STEPS + 1
    assert not any("…" in line for line in lines)


def test_in_a_pipe_there_is_no_colour_and_no_progress(signalr: Signalr) -> None:
    out = signalr("demo").out
    assert "\x1b" not in out
    assert out.count("stream from the server") == 1


def test_a_terminal_sees_it_grow(signalr: Signalr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = signalr("demo")
    assert done.status == 0
    assert "\x1b[" in done.out
    assert "…" in done.out
    assert done.out.count("stream from the server") > STEPS


def test_where_no_check_mark_can_be_written_there_are_words() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    command = [sys.executable, "-m", "signalr_sdk.cli.main", "demo"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"ok ") == STEPS * len(COMBINATIONS)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_programs_get_json(signalr: Signalr) -> None:
    done = signalr("demo", "--json")
    answer = json.loads(done.out)
    assert (done.status, answer["ok"]) == (0, True)
    assert len(answer["steps"]) == STEPS * len(COMBINATIONS)
    first, second = answer["steps"][:2]
    assert first["milliseconds"] > 0
    del second["milliseconds"]
    assert second == {
        "transport": "WebSockets",
        "protocol": "json",
        "step": "invoke",
        "ending": "worked",
        "said": "Add(2, 40) = 42",
    }


def test_wrong_answers_are_status_1_and_each_is_told(signalr: Signalr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalr_sdk.cli.demo.DemoHub", Liar)
    done = signalr("demo")
    assert done.status == 1
    assert done.out.count("✗ failed") == 3 * len(COMBINATIONS)
    assert "WebSockets with JSON, invoke: WrongAnswerError: -38 instead of 42" in done.out
    assert "LongPolling with MsgPack, event: WrongAnswerError: ('hello', 'me') instead of ('me', 'hello')" in done.out
    assert "ServerSentEvents with JSON, error of the server: WrongAnswerError: None instead of an error" in done.out
    assert "25 steps worked and 15 failed" in done.out


def test_a_lost_connection_fails_what_comes_after(signalr: Signalr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalr_sdk.cli.demo.DemoHub", Breaker)
    done = signalr("demo")
    assert done.status == 1
    assert "event: WrongAnswerError: the connection ended before the event came" in done.out
    assert "stream to the server: NotConnectedError" in done.out


# With a server of the user (--url)


def test_with_any_server_the_parts_that_need_no_hub(signalr: Signalr) -> None:
    with HubServer({"/any": Hub}) as server:
        done = signalr("demo", "--url", server.url("/any") + "?secret=1")
    assert done.status == 0, done.out
    assert done.out.count("✓") == 3 * len(COMBINATIONS)
    assert "an unknown method, refused" in done.out
    assert "secret" not in done.out


def test_a_hub_may_have_the_method_that_nobody_has(signalr: Signalr) -> None:
    with HubServer({"/any": Obliging}) as server:
        done = signalr("demo", "--url", server.url("/any"))
    assert done.status == 0
    assert "a call, answered" in done.out


def test_what_a_server_does_not_offer_is_no_failure(signalr: Signalr) -> None:
    with HubServer({"/any": Hub}, transports=["WebSockets", "LongPolling"], protocols=["json"]) as server:
        done = signalr("demo", "--url", server.url("/any"))
    assert done.status == 0
    assert done.out.count("✓") == 3 * 2
    assert "- is what this server does not offer." in done.out
    connect = next(line for line in done.out.splitlines() if line.startswith("connect"))
    assert connect.count(" - ") == 3


def test_nothing_at_all_is_a_failure(signalr: Signalr) -> None:
    with HubServer({"/any": Hub}, transports=["ServerSentEvents"], protocols=["messagepack"]) as server:
        done = signalr("demo", "--url", server.url("/any"))
    assert done.status == 1
    assert "0 steps worked and 0 failed" in done.out


def test_a_token_goes_along(signalr: Signalr) -> None:
    with HubServer({"/any": Hub}, authorize=lambda token: "me" if token == "mine" else None) as server:
        refused = signalr("demo", "--url", server.url("/any"))
        welcome = signalr("demo", "--url", server.url("/any"), "--token", "mine")
    assert (refused.status, refused.out) == (3, "")
    assert "401" in refused.err
    assert welcome.status == 0


@pytest.mark.parametrize(("url", "status"), [(NOBODY, 3), ("nonsense", 2)])
def test_no_server_and_no_url(signalr: Signalr, url: str, status: int) -> None:
    done = signalr("demo", "--url", url)
    assert (done.status, done.out) == (status, "")
    assert done.err.startswith("signalr: ")


# Its parts


def nobody(combination: Combination) -> HubConnection:
    return hub_over(NOBODY, combination)


async def test_a_step_without_an_end_is_cut_off() -> None:
    async def at_once(_hub: HubConnection) -> str:
        return ""

    async def never(_hub: HubConnection) -> str:
        await asyncio.Event().wait()
        return ""

    seen: list[StepResult] = []
    steps = (Step("connect", at_once), Step("wait", never))
    await StepRunner(steps=steps, connection=nobody, offered=COMBINATIONS[:1], limit=0.001, report=seen.append).run()
    ended = {(result.combination, result.step.name): result for result in seen}
    assert ended[COMBINATIONS[0], "wait"].ending is Ending.FAILED
    assert ended[COMBINATIONS[0], "wait"].said == "no answer within 0.001 s"
    assert ended[COMBINATIONS[1], "connect"].ending is Ending.NOT_OFFERED


async def test_a_refused_handshake_is_a_failure_and_ends_the_combination() -> None:
    async def refused(_hub: HubConnection) -> str:
        raise HandshakeError("go away")

    seen: list[StepResult] = []
    steps = (Step("connect", refused), Step("next", refused))
    await StepRunner(steps=steps, connection=nobody, limit=5, report=seen.append).run()
    endings = [result.ending for result in seen]
    assert endings == [None, Ending.FAILED] * len(COMBINATIONS)
    table = StepTable(steps, NOBODY, plain=True)
    for result in seen:
        table.update(result)
    assert not table.good
    assert table.remarks()[0] == "WebSockets with JSON, connect: go away"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0004, "0.4 ms"), (0.00999, "10 ms"), (0.0124, "12 ms"), (0.9999, "1.0 s"), (12.3, "12.3 s")],
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert short_time(seconds) == text


async def test_the_demo_hub_has_rooms() -> None:
    async with (
        HubServer({"/chat": DemoHub}) as server,
        HubConnection(server.url("/chat")) as hub,
        hub.messages("ReceiveMessage") as messages,
    ):
        await hub.invoke("JoinRoom", "red")
        await hub.invoke("SendToRoom", "red", "me", "in")
        await hub.invoke("LeaveRoom", "red")
        await hub.invoke("SendToRoom", "red", "me", "gone")
        await hub.invoke("SendMessage", "me", "all")
        assert [await messages.next(5) for _ in range(2)] == [("me", "in"), ("me", "all")]
