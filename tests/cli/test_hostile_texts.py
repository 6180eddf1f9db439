"""What a server says cannot drive the terminal on which a command prints it, or forge lines there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from tests.servers import in_thread, raw_server

from signalr_sdk.cli import exit_status
from signalr_sdk.cli.json_output import as_json
from signalr_sdk.testing import Hub, HubException, HubServer

if TYPE_CHECKING:
    from tests.servers import RawConnection

    from .conftest import Done, Signalr

pytestmark = pytest.mark.timeout(60)

HOSTILE = "boom\nsignalr: forged\r\x1b[31m\x9b2J\u202e\u2028\x85\u200b\u0007 Bearer secret-token " + "x" * 20_000


def check(done: Done, *, longest: int = 5000) -> None:
    for text in (done.out, done.err):
        assert text.replace("\n", "").isprintable()
        assert len(text) < longest
        assert "secret-token" not in text
    assert "\nsignalr: forged" not in done.err


class HostileHub(Hub):
    """A hub that says what terminals should not get."""

    async def fail(self) -> None:
        raise HubException(HOSTILE)

    async def echo(self) -> list[str]:
        return [HOSTILE]

    async def count(self) -> AsyncIterator[str]:
        yield HOSTILE
        raise HubException(HOSTILE)

    async def tell(self) -> None:
        await self.clients.caller.send(HOSTILE, HOSTILE)


def test_an_error_of_the_hub(signalr: Signalr) -> None:
    with HubServer({"/hub": HostileHub}) as server:
        done = signalr("invoke", server.url("/hub"), "Fail")
    assert done.status == exit_status.HUB_SAID_NO
    assert ": boom signalr: forged [31m 2J Bearer *** x" in done.err
    check(done)


@pytest.mark.parametrize("command", ["invoke", "stream"])
def test_a_result_is_json_that_shows_what_it_hides(signalr: Signalr, command: str) -> None:
    with HubServer({"/hub": HostileHub}) as server:
        done = signalr(command, server.url("/hub"), {"invoke": "Echo", "stream": "Count"}[command])
    (line,) = done.out.splitlines()
    assert line.isprintable()
    assert json.loads(line) == ([HOSTILE] if command == "invoke" else HOSTILE)
    assert "\\u001b[31m\\u009b2J\\u202e\\u2028\\u0085\\u200b\\u0007" in line
    assert "\nsignalr: forged" not in done.err


def test_json_keeps_what_can_be_seen() -> None:
    assert as_json({"ключ": ["é", "日本", "😀", 1.5, None]}) == '{"ключ": ["é", "日本", "😀", 1.5, null]}'
    hidden = "\x00\x7f\x80\x9f\u200e\u2066\ufeff\ud800\U000e0041"
    assert as_json({hidden: hidden}).isprintable()
    assert json.loads(as_json({hidden: hidden})) == {hidden: hidden}


def test_events(signalr: Signalr) -> None:
    class Telling(HostileHub):
        async def on_connected(self) -> None:
            await self.tell()

    with HubServer({"/hub": Telling}) as server:
        done = signalr("listen", server.url("/hub"), "--count", "1", "-vv")
    (line,) = done.out.splitlines()
    assert line.isprintable()
    assert json.loads(line) == {"event": HOSTILE, "arguments": [HOSTILE]}
    assert done.err.replace("\n", "").isprintable()
    assert "\nsignalr: forged" not in done.err


OFFER = {
    "negotiateVersion": 1,
    "connectionId": HOSTILE,
    "connectionToken": "t",
    "availableTransports": [{"transport": HOSTILE, "transferFormats": ["Text", HOSTILE]}],
}


@pytest.mark.parametrize("command", ["negotiate", "doctor", "demo", "invoke", "listen"])
@pytest.mark.parametrize(
    "answer", [OFFER, {"error": HOSTILE}, {"url": HOSTILE}, {"url": "https://" + "x" * 9999}, HOSTILE]
)
def test_what_negotiate_answers(signalr: Signalr, command: str, answer: object) -> None:
    body = json.dumps(answer).encode()

    async def serve(connection: RawConnection) -> None:
        while await connection.request():
            connection.answer(200, body)

    more = {"demo": ["--url"], "invoke": []}.get(command, [])
    with in_thread(raw_server(serve)) as server:
        url = f"{server.url}/hub"
        last = {"invoke": ["X"], "listen": ["--timeout", "0.5"], "doctor": ["--keep-alive", "0"]}.get(command, [])
        check(signalr(command, *more, url, *last), longest=20_000)
