"""No secret is in an error: not in a text of the server, not in the frames of tracebacks, not in a request's repr."""

from __future__ import annotations

import asyncio
import json
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from tests.doubles import ScriptedHttp
from tests.scripted import NEGOTIATED
from tests.servers import RawConnection, chain, raw_server

from signalr_sdk import (
    AuthenticationRefreshError,
    Connection,
    ConnectionClosedError,
    ConnectionFailedError,
    HandshakeError,
    HubConnection,
    NegotiationError,
    Transport,
    TransportError,
)
from signalr_sdk._core.known_secrets import KnownSecrets
from signalr_sdk.interfaces import HttpRequest, HttpResponse
from signalr_sdk.options import ConnectionState

if TYPE_CHECKING:
    from tests.scripted import ScriptedServer

TOKEN = "Zk3+9aB/opaque-token-of-a-user-qQ=="
QUOTED = "Zk3%2B9aB%2Fopaque-token-of-a-user-qQ%3D%3D"
COOKIE = "session-cookie-value"
API_KEY = "api-key-of-the-user"
SECRETS = (TOKEN, QUOTED, COOKIE, API_KEY, "opaque-token", "secret-id")
URL = "http://hub.test/chat"


def options(**more: Any) -> dict[str, Any]:
    return {
        "access_token": lambda: TOKEN,
        "cookies": {"session": COOKIE},
        "headers": {"X-Api-Key": API_KEY},
        "reconnect": False,
        **more,
    }


def shown(error: BaseException) -> list[str]:
    """Return all that an error collector would show of an error: texts, attributes, and the locals of each frame."""
    texts = []
    for link in chain(error):
        texts += [str(link), repr(link), repr(link.args), repr(vars(link))]
        for frame, _line in traceback.walk_tb(link.__traceback__):
            if "signalr_sdk" in frame.f_code.co_filename:
                texts += [f"{frame.f_code.co_name}: {name} = {value!r}" for name, value in frame.f_locals.items()]
    return texts


def assert_hidden(error: BaseException) -> None:
    leaks = [text for text in shown(error) if any(secret in text for secret in SECRETS)]
    assert not leaks


# The repr of a request


def test_a_request_shows_no_query() -> None:
    request = HttpRequest(
        method="GET", url="https://h/hub?access_token=secret&id=secret#secret", headers={"a": "secret"}
    )
    assert "secret" not in repr(request)
    assert "https://h/hub" in repr(request)


# What the server quotes


@pytest.mark.parametrize("status", [200, 400, 403, 500])
@pytest.mark.parametrize(
    "quoted", [TOKEN, QUOTED, TOKEN.replace("+", "\\u002B"), COOKIE, API_KEY, "x" * 150 + TOKEN * 9]
)
async def test_negotiate_may_quote_what_it_got(server: ScriptedServer, status: int, quoted: str) -> None:
    body = ('{"error":"no such token: ' + quoted + '."}').encode()
    server.negotiate = lambda: HttpResponse(status, (("Content-Type", "application/json"),), body)
    with pytest.raises(NegotiationError, match="no such token") as caught:
        await server.hub(**options()).start()
    assert_hidden(caught.value)
    assert "***" in str(caught.value)


@pytest.mark.parametrize("said", [{"error": f"bad {TOKEN}"}, {"type": 7, "error": f"bad {TOKEN}"}])
async def test_the_handshake_may_quote_it(server: ScriptedServer, said: dict[str, Any]) -> None:
    hub = server.hub(**options())
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    socket.say(said)
    with pytest.raises(HandshakeError, match=r"bad \*\*\*") as caught:
        await start
    assert_hidden(caught.value)


async def test_a_close_message_may_quote_it(server: ScriptedServer) -> None:
    hub = server.hub(**options())
    socket = await server.accept(hub)
    socket.say({"type": 7, "error": f"bad {TOKEN}"})
    with pytest.raises(ConnectionClosedError, match=r"bad \*\*\*") as caught:
        await hub.wait_closed()
    assert_hidden(caught.value)
    await hub.stop()


async def test_a_refused_web_socket_may_quote_it(server: ScriptedServer) -> None:
    async def refuse() -> None:
        raise TransportError(f"bad {TOKEN}", transport=Transport.WEBSOCKETS, status=403)

    server.connect = refuse
    with pytest.raises(ConnectionFailedError, match=r"bad \*\*\*") as caught:
        await server.hub(**options()).start()
    assert_hidden(caught.value)


async def test_the_answer_to_a_refresh_may_quote_it(server: ScriptedServer) -> None:
    hub = server.hub(**options())
    await server.accept(hub)
    server.negotiate = lambda: HttpResponse(403, (), json.dumps({"error": f"bad {TOKEN}"}).encode())
    with pytest.raises(AuthenticationRefreshError) as caught:
        await hub.refresh_authentication()
    assert_hidden(caught.value)
    await hub.stop()


def test_a_secret_that_was_cut_is_hidden_too() -> None:
    secrets = KnownSecrets()
    secrets.add("0123456789abcdef")
    assert secrets.hide("bad 0123456789abcdef!") == "bad ***!"
    assert secrets.hide("bad 0123456789ab… (status 3)") == "bad ***… (status 3)"
    assert secrets.hide("bad 01234567…0123… end") == "bad ***…***… end"
    assert secrets.hide("nothing of it … here") == "nothing of it … here"


def test_short_values_are_no_secrets() -> None:
    secrets = KnownSecrets()
    for value in (None, "", "abc", "12345"):
        secrets.add(value)
    assert secrets.hide("abc 12345") == "abc 12345"


# Frames


def test_the_options_of_a_connection_show_no_secret() -> None:
    hub = HubConnection(
        f"{URL}?sig={QUOTED}", **options(access_token=TOKEN, proxy=f"http://me:{API_KEY}@proxy.test:3128")
    )
    assert not [secret for secret in SECRETS if secret in repr(hub._options)]


async def test_no_frame_of_a_failed_start_holds_a_secret(server: ScriptedServer) -> None:
    server.negotiate = lambda: HttpResponse(500)
    with pytest.raises(NegotiationError) as caught:
        await server.hub(**options()).start()
    assert_hidden(caught.value)


@pytest.mark.parametrize("serve", ["nobody", "refusal", "cut"])
@pytest.mark.parametrize("kind", [HubConnection, Connection])
@pytest.mark.parametrize("skip", [False, True])
async def test_no_frame_over_aiohttp_holds_a_secret(serve: str, kind: Any, skip: bool) -> None:
    async def answer(connection: RawConnection) -> None:
        await connection.request()
        if serve == "refusal":
            connection.answer(403, b"no")

    more = {} if kind is Connection else {"reconnect": False}
    async with raw_server(answer) as server:
        url = f"http://127.0.0.1:9/hub?sig={QUOTED}" if serve == "nobody" else f"{server.url}/hub?sig={QUOTED}"
        values = options(access_token_in="query", skip_negotiation=skip)
        del values["reconnect"]
        connection = kind(url, **values, **more)
        with pytest.raises(ConnectionFailedError) as caught:
            await connection.start()
        assert_hidden(caught.value)
        await connection.stop()


async def test_no_frame_of_a_failed_refresh_holds_a_secret(server: ScriptedServer) -> None:
    hub = server.hub(**options())
    await server.accept(hub)

    def fail() -> HttpResponse:
        raise OSError("the network is down")

    server.negotiate = fail
    with pytest.raises(AuthenticationRefreshError) as caught:
        await hub.refresh_authentication()
    assert_hidden(caught.value)
    await hub.stop()


async def test_no_frame_of_a_failed_resume_holds_a_secret(server: ScriptedServer) -> None:
    server.negotiate = lambda: HttpResponse(200, (), json.dumps({**NEGOTIATED, "useStatefulReconnect": True}).encode())
    hub = server.hub(**options(stateful_reconnect=True))
    socket = await server.accept(hub)

    async def refuse() -> None:
        raise TransportError("not known here", transport=Transport.WEBSOCKETS, status=404)

    server.connect = refuse
    socket.vanish()
    with pytest.raises(ConnectionClosedError) as caught:
        await hub.wait_closed()
    assert_hidden(caught.value)
    await hub.stop()
    assert hub.state is ConnectionState.DISCONNECTED


# HandshakeError


@pytest.mark.parametrize("said", [[{"error": "not supported"}], [{"type": 6}], [{}, {"type": 7, "error": "no"}], None])
async def test_a_handshake_error_says_where_and_what_was_tried_before(said: list[Any] | None) -> None:
    offer = [{"transport": name, "transferFormats": ["Text"]} for name in ("WebSockets", "LongPolling")]
    negotiated = HttpResponse(200, (), json.dumps({**NEGOTIATED, "availableTransports": offer}).encode())

    class Polling(ScriptedHttp):
        async def connect_web_socket(self, *_request: Any) -> Any:
            raise TransportError("blocked", transport=Transport.WEBSOCKETS, status=403)

    record = b"".join(json.dumps(each).encode() + b"\x1e" for each in said or [])
    answers = [HttpResponse(200, (), record), HttpResponse(200)] if said else [HttpResponse(200), HttpResponse(200)]
    http = Polling(negotiated, negotiated, HttpResponse(200), *answers, *[HttpResponse(204)] * 3)
    if said:
        # The first poll brings nothing, then the handshake is posted, and the next poll brings its answer.
        http.answers = type(http.answers)(
            [negotiated, negotiated, HttpResponse(200), HttpResponse(200), HttpResponse(200, (), record)]
            + [HttpResponse(204)] * 3
        )
    hub = HubConnection(f"{URL}?secret=1", http=http, reconnect=False)
    with pytest.raises(HandshakeError) as caught:
        await hub.start()
    error = caught.value
    assert (error.url, error.transport) == (URL, Transport.LONG_POLLING)
    assert [type(each) for each in error.attempts] == [TransportError]
    assert "blocked" in str(error.attempts[0])
    assert f"({URL}, LongPolling)" in str(error)


async def test_a_handshake_error_without_negotiation_has_them_too(server: ScriptedServer) -> None:
    hub = server.hub(skip_negotiation=True)
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    socket.say({"error": "not supported"})
    with pytest.raises(HandshakeError) as caught:
        await start
    assert (caught.value.url, caught.value.transport, caught.value.attempts) == (URL, Transport.WEBSOCKETS, ())
