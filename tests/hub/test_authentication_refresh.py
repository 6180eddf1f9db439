"""Authentication refresh: a new token for a connection that lives on, by schedule, by hand, or asked for by a poll."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.doubles import ScriptedHttp
from tests.scripted import NEGOTIATED, ScriptedServer, ScriptedSocket
from tests.servers import assert_hides

from signalr_sdk import (
    AuthenticationRefresh,
    AuthenticationRefreshError,
    ConnectionClosedError,
    HubConnection,
    NotConnectedError,
    Timeouts,
)
from signalr_sdk._http.request_sender import RequestSender
from signalr_sdk._http.token_refresh import Refresher
from signalr_sdk._transports.contract import TransportSettings
from signalr_sdk._transports.opening import open_transport
from signalr_sdk.interfaces import HttpRequest, HttpResponse
from signalr_sdk.options import TransferFormat, Transport

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

HUB = "http://hub.test/chat"
EMPTY = HttpResponse(200)
REQUIRED = HttpResponse(409, (), b'{"error":"authentication_refresh_required"}')


def answer(**members: Any) -> HttpResponse:
    return HttpResponse(200, (), json.dumps(members).encode())


class RefreshServer(ScriptedServer):
    """A hub whose tokens live so long, and that answers each refresh with what `answers` has.

    Attributes:
        refreshes: what came to `/refresh`.
        answers: for them; an exception is raised. The last one stays.
    """

    def __init__(self, lifetime: float | None = None, *answers: HttpResponse | Exception, **negotiated: Any) -> None:
        super().__init__()
        members = {**NEGOTIATED, "tokenLifetimeSeconds": lifetime, **negotiated}
        self.negotiate = lambda: answer(**members)
        self.refreshes: list[HttpRequest] = []
        self.answers = list(answers) or [answer()]
        self.changed = asyncio.Event()

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        if not request.url.partition("?")[0].endswith("/refresh"):
            return await super().request(request)
        self.refreshes.append(request)
        self.changed.set()
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(given, Exception):
            raise given
        return given

    async def refreshed(self, count: int) -> None:
        while len(self.refreshes) < count:
            self.changed.clear()
            await self.changed.wait()


def counting() -> Callable[[], str]:
    """Return a provider of token-1, token-2, ..."""
    tokens = iter(range(1, 1000))
    return lambda: f"token-{next(tokens)}"


class Told:
    """What the lifecycle handlers were told."""

    def __init__(self, hub: HubConnection) -> None:
        self.lifetimes: asyncio.Queue[float | None] = asyncio.Queue()
        self.errors: asyncio.Queue[Exception] = asyncio.Queue()
        hub.on_authentication_refreshed(self.lifetimes.put_nowait)
        hub.on_error(self.errors.put_nowait)


async def ended(hub: HubConnection, socket: ScriptedSocket) -> None:
    await hub.stop()
    assert socket.closed.is_set()


# By schedule


async def test_it_refreshes_before_the_token_runs_out_and_again() -> None:
    server = RefreshServer(1, answer(tokenLifetimeSeconds=1), answer())
    hub = server.hub(access_token=counting(), headers={"X-App": "1"})
    told = Told(hub)
    socket = await server.accept(hub)
    await server.refreshed(2)
    assert await told.lifetimes.get() == 1.0
    assert await told.lifetimes.get() is None
    first, second = server.refreshes
    assert (first.method, first.url, first.body) == ("POST", f"{HUB}/refresh", b"")
    assert first.headers["Authorization"] == "Bearer token-2"
    assert first.headers["X-SignalR-Connection-Token"] == "secret-id"
    assert first.headers["X-App"] == "1"
    assert second.headers["Authorization"] == "Bearer token-3"
    await ended(hub, socket)
    assert told.errors.empty()


async def test_a_token_that_lives_less_than_a_second_is_refreshed_soon() -> None:
    """The server rounds down: 0 is a token with up to a second left. The .NET client never refreshes such a token."""
    server = RefreshServer(0, answer(tokenLifetimeSeconds=0), answer(tokenLifetimeSeconds=1000))
    hub = server.hub(access_token=counting())
    told = Told(hub)
    await server.accept(hub)
    began = asyncio.get_running_loop().time()
    assert await told.lifetimes.get() == 0.0
    assert await told.lifetimes.get() == 1000.0
    assert 0.8 < asyncio.get_running_loop().time() - began < 60
    await hub.stop()


async def test_a_server_whose_tokens_never_live_a_second_is_not_asked_often_for_ever() -> None:
    server = RefreshServer(0, answer(tokenLifetimeSeconds=0))
    hub = server.hub(access_token=counting())
    await server.accept(hub)
    assert hub._life.link is not None
    schedule = hub._life.link._refresh_timer
    assert schedule is not None
    schedule._short_lived = 119
    for wait in (0.5, 60.0):
        await hub.refresh_authentication()
        assert schedule._timer is not None
        assert wait - 0.4 < schedule._timer.when() - asyncio.get_running_loop().time() <= wait
    await hub.stop()


async def test_the_first_token_lives_from_negotiation_on() -> None:
    """A handshake that takes long leaves less of the token's life, and the refresh is as much sooner."""
    server = RefreshServer(1000)
    hub = server.hub()
    negotiated = asyncio.get_running_loop().time()

    async def slowly() -> None:
        await asyncio.sleep(0.3)

    server.connect = slowly
    await server.accept(hub)
    assert hub._life.link is not None
    schedule = hub._life.link._refresh_timer
    assert schedule is not None
    assert schedule._timer is not None
    assert schedule._timer.when() - negotiated < 700.2
    await hub.stop()


@pytest.mark.parametrize("lifetime", [None, -1])
async def test_without_a_lifetime_there_is_no_schedule(lifetime: float | None) -> None:
    server = RefreshServer(lifetime)
    hub = server.hub(access_token=counting())
    await server.accept(hub)
    assert hub._life.link is not None
    assert hub._life.link._refresh_timer is not None
    assert hub._life.link._refresh_timer._timer is None
    await hub.stop()


async def test_it_can_be_switched_off_and_done_by_hand() -> None:
    server = RefreshServer(0.001, answer(tokenLifetimeSeconds=0.001))
    hub = server.hub(access_token=counting(), authentication_refresh=False)
    told = Told(hub)
    await server.accept(hub)
    assert await hub.refresh_authentication() == 0.001
    assert await told.lifetimes.get() == 0.001
    assert hub._life.link is not None
    assert hub._life.link._refresh_timer is not None
    assert hub._life.link._refresh_timer._timer is None
    await hub.stop()
    assert len(server.refreshes) == 1


async def test_before_moves_the_moment() -> None:
    server = RefreshServer(1000)
    hub = server.hub(authentication_refresh=AuthenticationRefresh(before=10))
    await server.accept(hub)
    assert hub._life.link is not None
    assert hub._life.link._refresh_timer is not None
    timer = hub._life.link._refresh_timer._timer
    assert timer is not None
    assert 980 < timer.when() - asyncio.get_running_loop().time() <= 990
    await hub.stop()


@pytest.mark.parametrize("value", [None, 5, "yes"])
def test_what_is_no_setting_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="authentication_refresh"):
        HubConnection(HUB, authentication_refresh=value)


@pytest.mark.parametrize("before", [-1, True, "1", float("nan")])
def test_seconds_that_are_none_are_refused(before: Any) -> None:
    with pytest.raises(ValueError, match="before"):
        AuthenticationRefresh(before=before)


@pytest.mark.parametrize(
    ("given", "status", "text"),
    [
        (HttpResponse(403, (), b'{"error":"user_changed"}'), 403, "another user"),
        (HttpResponse(403, (), b'{"error":"permission_change_rejected"}'), 403, "the application refuses"),
        (HttpResponse(500), 500, "status 500"),
        (HttpResponse(200, (), b"<html>"), 200, "wrong"),
        (ConnectionError("no route"), None, "no route"),
    ],
)
async def test_a_failure_is_an_error_for_nobody_and_the_connection_stays(
    given: HttpResponse | Exception, status: int | None, text: str, expected_errors: list[logging.LogRecord]
) -> None:
    server = RefreshServer(1, given)
    hub = server.hub(access_token=counting())
    told = Told(hub)
    socket = await server.accept(hub)
    error = await told.errors.get()
    assert isinstance(error, AuthenticationRefreshError)
    assert error.status == status
    assert text in str(error)
    assert_hides(error, "token-1", "token-2", "secret-id")
    call = asyncio.create_task(hub.invoke("Add", 1, 2))
    socket.answer(await socket.next(), 3)
    assert await call == 3
    assert told.lifetimes.empty()
    await hub.stop()
    assert expected_errors


async def test_a_failure_for_the_moment_is_tried_again_while_there_is_time(
    expected_errors: list[logging.LogRecord],
) -> None:
    """Half of what is left of the token's life, but not more often than each 5 s; a refusal is not tried again."""
    for given, again in ((HttpResponse(503), True), (HttpResponse(403), False)):
        server = RefreshServer(1000, given)
        hub = server.hub(access_token=counting())
        told = Told(hub)
        await server.accept(hub)
        assert hub._life.link is not None
        schedule = hub._life.link._refresh_timer
        assert schedule is not None
        schedule._cancel()
        schedule._start()
        await told.errors.get()
        assert (schedule._timer is not None) is again
        await hub.stop()
    assert expected_errors


async def test_a_provider_that_fails_leaves_the_connection_alone(expected_errors: list[logging.LogRecord]) -> None:
    tokens = iter(["first"])
    server = RefreshServer(1)
    hub = server.hub(access_token=lambda: next(tokens))
    told = Told(hub)
    socket = await server.accept(hub)
    error = await told.errors.get()
    assert "the access token provider failed" in str(error)
    assert not socket.closed.is_set()
    await hub.stop()
    assert not server.refreshes
    assert expected_errors


async def test_stop_during_a_refresh() -> None:
    server = RefreshServer(1)
    waiting = asyncio.Event()

    async def token() -> str:
        if server.requests:
            waiting.set()
            await asyncio.Event().wait()
        return "first"

    hub = server.hub(access_token=token)
    socket = await server.accept(hub)
    await waiting.wait()
    await asyncio.wait_for(hub.stop(), 4)
    assert socket.closed.is_set()


async def test_the_timer_of_a_lost_connection_does_not_fire() -> None:
    """In the .NET client a stale timer fires in the gap between two connections and logs a failure."""
    server = RefreshServer(1)
    hub = server.hub(access_token=counting(), reconnect=False)
    socket = await server.accept(hub)
    link = hub._life.link
    assert link is not None
    socket.vanish()
    with pytest.raises(ConnectionClosedError):
        await hub.wait_closed()
    assert link._refresh_timer is not None
    assert link._refresh_timer._timer is None
    assert not server.refreshes


# By hand


async def test_by_hand_without_a_connection() -> None:
    with pytest.raises(NotConnectedError):
        await HubConnection(HUB).refresh_authentication()


async def test_by_hand_where_negotiation_was_skipped() -> None:
    server = RefreshServer()
    hub = server.hub(skip_negotiation=True)
    await server.accept(hub)
    with pytest.raises(AuthenticationRefreshError, match="without negotiation"):
        await hub.refresh_authentication()
    await hub.stop()


async def test_by_hand_an_error_is_the_callers() -> None:
    server = RefreshServer(None, HttpResponse(404))
    hub = server.hub(access_token="plain")
    told = Told(hub)
    await server.accept(hub)
    with pytest.raises(AuthenticationRefreshError) as caught:
        await hub.refresh_authentication()
    assert caught.value.status == 404
    assert server.refreshes[0].headers["Authorization"] == "Bearer plain"
    assert told.errors.empty()
    await hub.stop()


async def test_side_by_side_they_go_one_after_another() -> None:
    server = RefreshServer(None, answer(tokenLifetimeSeconds=100), answer(tokenLifetimeSeconds=200))
    hub = server.hub(access_token=counting())
    await server.accept(hub)
    assert set(await asyncio.gather(hub.refresh_authentication(), hub.refresh_authentication())) == {100.0, 200.0}
    await hub.stop()


# Which token goes where


async def test_after_a_redirect_the_hub_gets_the_users_token_and_the_service_its_own() -> None:
    http = ScriptedHttp(answer(tokenLifetimeSeconds=60, accessToken="service-2"), EMPTY)
    sender = RequestSender(http, HUB, access_token=counting(), timeouts=Timeouts())
    sender.token.use_from_redirect("service-1")
    await Refresher(sender, f"{HUB}?room=1", connection_token="secret-id").refresh()
    await sender.request("POST", "http://service.test/client", timeout=1.0)
    refresh, message = http.requests
    assert refresh.url == f"{HUB}/refresh?room=1"
    assert refresh.headers["Authorization"] == "Bearer token-1"
    assert message.headers["Authorization"] == "Bearer service-2"


async def test_without_a_token_in_the_answer_the_service_keeps_its_own() -> None:
    http = ScriptedHttp(answer(), EMPTY)
    sender = RequestSender(http, HUB, access_token=counting(), timeouts=Timeouts())
    sender.token.use_from_redirect("service-1")
    await Refresher(sender, HUB, connection_token="secret-id").refresh()
    await sender.request("POST", "http://service.test/client", timeout=1.0)
    assert http.requests[1].headers["Authorization"] == "Bearer service-1"


async def test_without_a_redirect_the_token_that_was_shown_is_used_from_now_on() -> None:
    http = ScriptedHttp(EMPTY, EMPTY, EMPTY)
    sender = RequestSender(http, HUB, access_token=counting(), timeouts=Timeouts())
    await sender.request("POST", HUB, timeout=1.0)
    await Refresher(sender, HUB, connection_token="secret-id").refresh()
    await sender.request("POST", HUB, timeout=1.0)
    assert [request.headers["Authorization"][-1] for request in http.requests] == ["1", "2", "2"]


async def test_a_refusal_changes_no_token() -> None:
    http = ScriptedHttp(EMPTY, HttpResponse(403), EMPTY)
    sender = RequestSender(http, HUB, access_token=counting(), timeouts=Timeouts())
    await sender.request("POST", HUB, timeout=1.0)
    with pytest.raises(AuthenticationRefreshError):
        await Refresher(sender, HUB, connection_token="secret-id").refresh()
    await sender.request("POST", HUB, timeout=1.0)
    assert http.requests[2].headers["Authorization"] == "Bearer token-1"


# Long polling


async def polled(*answers: HttpResponse | Exception) -> tuple[ScriptedHttp, bytes | None]:
    """Open long polling over these answers; return what the first `receive` gives."""
    http = ScriptedHttp(EMPTY, *answers)
    sender = RequestSender(http, HUB, access_token=counting(), timeouts=Timeouts())
    refresher = Refresher(sender, HUB, connection_token="secret-id")
    settings = TransportSettings(TransferFormat.TEXT, 1000)
    transport = await open_transport(
        Transport.LONG_POLLING, sender, f"{HUB}?id=secret-id", settings, refresher=refresher
    )
    return http, await transport.receive()


async def test_a_poll_may_ask_for_a_refresh() -> None:
    http, received = await polled(REQUIRED, answer(), HttpResponse(200, (), b"hello"))
    assert received == b"hello"
    assert [request.method for request in http.requests] == ["GET", "GET", "POST", "GET"]
    assert http.requests[3].headers["Authorization"] == "Bearer token-2"


async def test_a_poll_that_asks_twice_in_a_row_is_a_loss() -> None:
    with pytest.raises(ConnectionClosedError, match="status 409"):
        await polled(REQUIRED, answer(), REQUIRED)


async def test_another_409_is_a_loss_at_once() -> None:
    with pytest.raises(ConnectionClosedError, match="status 409"):
        await polled(HttpResponse(409))


async def test_a_refresh_that_fails_there_is_a_loss() -> None:
    with pytest.raises(ConnectionClosedError, match="another token") as caught:
        await polled(REQUIRED, HttpResponse(401))
    assert isinstance(caught.value.__cause__, AuthenticationRefreshError)
    assert caught.value.allow_reconnect
