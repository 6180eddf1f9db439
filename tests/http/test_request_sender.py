"""The request sender: which headers, cookies and token go to which server, and when a token is asked for."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from tests.doubles import ScriptedHttp, ScriptedStream
from tests.servers import assert_hides

from signalr_sdk._core.headers import USER_AGENT
from signalr_sdk._http.request_sender import RequestSender
from signalr_sdk.errors import ConnectionClosedError, ConnectionFailedError, TransportError
from signalr_sdk.interfaces import HttpRequest, HttpResponse, WebSocketOptions
from signalr_sdk.options import Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

HUB = "https://example.com/hub?room=1"
ELSEWHERE = "https://service.example.net/hub?room=1"
OPTIONS = WebSocketOptions(max_bytes=100, close_timeout=1.0)
OK = HttpResponse(200)
UNAUTHORIZED = HttpResponse(401)


class FakeWebSocket:
    async def receive(self) -> bytes | None:
        return None

    async def send(self, data: bytes, /) -> None:
        raise ConnectionClosedError("closed")

    async def flush(self) -> None:
        pass

    async def close(self) -> None:
        pass


class ScriptedWebSockets(ScriptedHttp):
    """A client with WebSockets: an answer other than 101 is a refusal."""

    async def connect_web_socket(self, request: HttpRequest, options: WebSocketOptions, /) -> FakeWebSocket:
        assert options is OPTIONS
        answer = await self.request(request)
        if answer.status != 101:
            raise TransportError("refused", status=answer.status)
        return FakeWebSocket()


def sender(http: ScriptedHttp, **options: Any) -> RequestSender:
    return RequestSender(http, HUB, timeouts=Timeouts(connect=7.0), **options)


async def headers_of(url: str = HUB, *, token: str | None = None, **options: Any) -> dict[str, str]:
    """Return the headers of a POST."""
    http = ScriptedHttp(OK)
    sending = sender(http, **options)
    if token is not None:
        sending.token.use_from_redirect(token)
    await sending.request("POST", url, timeout=1.0)
    return dict(http.requests[0].headers)


class Provider:
    """A token provider that says one thing after another, and counts."""

    def __init__(self, *tokens: str | None) -> None:
        self.tokens = deque(tokens)
        self.calls = 0

    def __call__(self) -> str | None:
        self.calls += 1
        return self.tokens.popleft()


# Headers


async def test_a_request_says_who_we_are() -> None:
    assert await headers_of() == {"User-Agent": USER_AGENT, "X-Requested-With": "XMLHttpRequest", "Accept": "*/*"}


async def test_a_request_goes_out_as_asked_for() -> None:
    http = ScriptedHttp(OK)
    answer = await sender(http).request(
        "POST", HUB, body=b"data", accept="a/b", timeout=3.0, max_bytes=5, content_type="text/plain"
    )
    assert answer is OK
    request = http.requests[0]
    assert (request.method, request.url, request.body) == ("POST", HUB, b"data")
    assert (request.connect_timeout, request.timeout, request.max_bytes) == (7.0, 3.0, 5)
    assert request.headers["Accept"] == "a/b"
    assert request.headers["Content-Type"] == "text/plain"


async def test_headers_of_the_user_replace_ours_whatever_their_case() -> None:
    headers = await headers_of(headers={"user-agent": "me", "X-ReQuested-With": "them", "X-Own": "1"})
    assert headers == {"user-agent": "me", "X-ReQuested-With": "them", "X-Own": "1", "Accept": "*/*"}


async def test_what_makes_a_request_what_it_is_cannot_be_replaced() -> None:
    """ASP.NET Core takes a GET for an event stream because of its Accept header."""
    http = ScriptedHttp(OK)
    async with sender(http, headers={"accept": "text/html"}).stream(HUB):
        pass
    assert http.requests[0].headers["Accept"] == "text/event-stream"
    assert "accept" not in http.requests[0].headers


async def test_what_the_user_passed_is_not_changed() -> None:
    headers, cookies = {"X-Own": "1"}, {"a": "1"}
    http = ScriptedHttp(OK)
    sending = sender(http, headers=headers, cookies=cookies)
    headers["X-Late"] = "2"
    await sending.request("POST", HUB, timeout=None)
    assert "X-Late" not in http.requests[0].headers
    assert cookies == {"a": "1"}


@pytest.mark.parametrize("bad", ["a\r\nX: y", "a\nb", "nul\0", b"bytes", "half\ud800"])
@pytest.mark.parametrize("where", ["headers", "cookies"])
def test_values_that_no_header_can_carry_are_refused(bad: object, where: str) -> None:
    with pytest.raises(ValueError, match="without line breaks") as caught:
        sender(ScriptedHttp(), **{where: {"secret": bad}})
    assert_hides(caught.value, repr(bad)[1:-1])


def test_names_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be the name of a header"):
        sender(ScriptedHttp(), headers={"X Y": "1"})


@pytest.mark.parametrize(
    "cookies",
    [
        {"a": "secret; c=d"},
        {"a": "secret;"},
        {"a; c": "secret"},
        {"a=b": "secret"},
        {"": "secret"},
        {"a\r\nX": "secret"},
    ],
)
def test_a_cookie_that_would_be_two_is_refused(cookies: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="cookie") as caught:
        sender(ScriptedHttp(), cookies=cookies)
    assert_hides(caught.value, "secret")


async def test_cookies_have_any_other_value() -> None:
    assert (await headers_of(cookies={"a": '"b, c" é=d'}))["Cookie"] == 'a="b, c" é=d'


async def test_a_user_cannot_ask_for_compressed_answers() -> None:
    sent = await headers_of(headers={"accept-encoding": "gzip"})
    assert "accept-encoding" not in map(str.lower, sent)


# The token


async def test_a_string_is_the_token() -> None:
    assert (await headers_of(access_token="abc"))["Authorization"] == "Bearer abc"


async def test_a_provider_is_asked_once_when_a_token_is_first_needed() -> None:
    provider = Provider("abc")
    http = ScriptedHttp(OK, OK)
    sending = sender(http, access_token=provider)
    assert provider.calls == 0
    await sending.request("POST", HUB, timeout=None)
    await sending.request("GET", HUB, timeout=None)
    assert provider.calls == 1
    assert [request.headers["Authorization"] for request in http.requests] == ["Bearer abc", "Bearer abc"]


async def test_a_provider_may_be_async_and_serves_requests_side_by_side() -> None:
    calls = []

    async def provide() -> str:
        calls.append(1)
        await asyncio.sleep(0)
        return "abc"

    http = ScriptedHttp(OK, OK)
    sending = sender(http, access_token=provide)
    await asyncio.gather(*(sending.request("POST", HUB, timeout=None) for _ in range(2)))
    assert len(calls) == 1
    assert [request.headers["Authorization"] for request in http.requests] == ["Bearer abc", "Bearer abc"]


@pytest.mark.parametrize("nothing", [None, ""])
async def test_no_token_is_no_header(nothing: str | None) -> None:
    assert "Authorization" not in await headers_of(access_token=lambda: nothing)
    assert (await headers_of(access_token=nothing, headers={"Authorization": "Basic x"}))["Authorization"] == "Basic x"


async def test_the_token_comes_before_the_users_own_authorization() -> None:
    headers = await headers_of(access_token="abc", headers={"authorization": "Basic x"})
    assert headers["Authorization"] == "Bearer abc"
    assert "authorization" not in headers


async def test_a_failing_provider_is_named() -> None:
    def provide() -> str:
        raise LookupError("the vault is closed")

    http = ScriptedHttp()
    with pytest.raises(ConnectionFailedError) as caught:
        await sender(http, access_token=provide).request("POST", HUB, timeout=None)
    assert str(caught.value) == "the access token provider failed: the vault is closed"
    assert isinstance(caught.value.__cause__, LookupError)
    assert not http.requests


@pytest.mark.parametrize("wrong", [b"abc", 7])
async def test_a_token_that_is_no_text_is_refused(wrong: object) -> None:
    with pytest.raises(ConnectionFailedError, match=f"not {type(wrong).__name__}"):
        await headers_of(access_token=lambda: wrong)


@pytest.mark.parametrize("wrong", ["top-secret\n", "töp-secret"])
async def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(wrong: str) -> None:
    with pytest.raises(ConnectionFailedError, match="is there a line break at its end") as caught:
        await headers_of(access_token=lambda: wrong)
    assert_hides(caught.value, "secret")


@pytest.mark.parametrize(
    "wrong", ["Bearer top-secret", "bearer top-secret", "Bearer", " top-secret", "top-secret ", '"top-secret"']
)
async def test_a_token_with_more_than_the_token_is_refused_with_a_hint(wrong: str) -> None:
    for source in (wrong, lambda: wrong):
        with pytest.raises(ConnectionFailedError, match="token alone, without 'Bearer'") as caught:
            await headers_of(access_token=source)
        assert_hides(caught.value, "secret")


@pytest.mark.parametrize("token", ["bearer-of-news", "Bearertoken", "a b", "a=="])
async def test_a_token_that_only_looks_odd_is_sent(token: str) -> None:
    assert (await headers_of(access_token=token))["Authorization"] == f"Bearer {token}"


# A 401


async def test_a_401_asks_once_for_another_token() -> None:
    provider = Provider("old", "new")
    http = ScriptedHttp(UNAUTHORIZED, OK, OK)
    sending = sender(http, access_token=provider)
    assert (await sending.request("POST", HUB, body=b"x", timeout=None)).status == 200
    await sending.request("GET", HUB, timeout=None)
    assert [request.headers["Authorization"] for request in http.requests] == ["Bearer old", "Bearer new", "Bearer new"]
    assert [request.body for request in http.requests] == [b"x", b"x", b""]


async def test_a_second_401_is_the_answer() -> None:
    provider = Provider("old", "new")
    assert (
        await sender(ScriptedHttp(UNAUTHORIZED, UNAUTHORIZED), access_token=provider).request("GET", HUB, timeout=None)
    ).status == 401
    assert provider.calls == 2


async def test_each_request_may_ask_once() -> None:
    provider = Provider("a", "b", "c")
    sending = sender(ScriptedHttp(UNAUTHORIZED, OK, UNAUTHORIZED, OK), access_token=provider)
    for _ in range(2):
        assert (await sending.request("GET", HUB, timeout=None)).status == 200
    assert provider.calls == 3


async def test_requests_that_are_refused_together_share_one_new_token() -> None:
    provider = Provider("old", "new")
    gate = asyncio.Barrier(2)

    class Refusing(ScriptedHttp):
        async def request(self, request: HttpRequest, /) -> HttpResponse:
            if request.headers["Authorization"] == "Bearer old":
                await gate.wait()
                return UNAUTHORIZED
            return OK

    sending = sender(Refusing(), access_token=provider)
    answers = await asyncio.gather(*(sending.request("GET", HUB, timeout=None) for _ in range(2)))
    assert [answer.status for answer in answers] == [200, 200]
    assert provider.calls == 2


@pytest.mark.parametrize("token", [None, "plain"])
async def test_a_plain_string_is_not_asked_again(token: str | None) -> None:
    http = ScriptedHttp(UNAUTHORIZED)
    assert (await sender(http, access_token=token).request("GET", HUB, timeout=None)).status == 401


async def test_a_provider_that_fails_after_a_401_is_named() -> None:
    with pytest.raises(ConnectionFailedError, match="the access token provider failed: pop from an empty"):
        await sender(ScriptedHttp(UNAUTHORIZED), access_token=Provider("old")).request("GET", HUB, timeout=None)


async def test_an_event_stream_is_opened_again_after_a_401() -> None:
    refused, stream = ScriptedStream(UNAUTHORIZED), ScriptedStream(OK, [b"data"])
    http = ScriptedHttp(refused, stream)
    async with sender(http, access_token=Provider("old", "new")).stream(HUB) as opened:
        assert opened is stream
        assert refused.closed
        assert not stream.closed
    assert stream.closed
    assert [request.headers["Authorization"] for request in http.requests] == ["Bearer old", "Bearer new"]


async def test_an_event_stream_that_stays_refused_is_handed_out() -> None:
    http = ScriptedHttp(UNAUTHORIZED, UNAUTHORIZED)
    async with sender(http, access_token=Provider("old", "new")).stream(HUB) as stream:
        assert stream.response.status == 401


async def test_a_web_socket_is_opened_again_after_a_401() -> None:
    http = ScriptedWebSockets(UNAUTHORIZED, HttpResponse(101))
    await sender(http, access_token=Provider("old", "new")).connect_web_socket(HUB, OPTIONS)
    assert [request.headers["Authorization"] for request in http.requests] == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("answers", [[UNAUTHORIZED, UNAUTHORIZED], [HttpResponse(403)]])
async def test_a_web_socket_that_stays_refused_is_an_error(answers: list[HttpResponse]) -> None:
    http = ScriptedWebSockets(*answers)
    with pytest.raises(TransportError, match="refused"):
        await sender(http, access_token=Provider("old", "new")).connect_web_socket(HUB, OPTIONS)
    assert not http.answers


async def test_a_client_without_web_sockets_says_so() -> None:
    with pytest.raises(TransportError, match="has no WebSockets"):
        await sender(ScriptedHttp()).connect_web_socket(HUB, OPTIONS)


# The token in the query


async def opened(http: ScriptedWebSockets, sending: RequestSender, open_with: str, url: str = HUB + "&id=1") -> None:
    if open_with == "stream":
        async with sending.stream(url):
            pass
    else:
        await sending.connect_web_socket(url, OPTIONS)


IN_QUERY = "https://example.com/hub?room=1&access_token=a%20b&id=1"
BASIC = {"authorization": "Basic x"}


@pytest.mark.parametrize("open_with", ["stream", "web_socket"])
async def test_streams_and_web_sockets_may_carry_the_token_in_the_query(open_with: str) -> None:
    http = ScriptedWebSockets(HttpResponse(101))
    await opened(http, sender(http, access_token="a b", access_token_in="query"), open_with)
    assert http.requests[0].url == IN_QUERY
    assert "Authorization" not in http.requests[0].headers


@pytest.mark.parametrize("open_with", ["stream", "web_socket"])
async def test_the_users_own_authorization_stays_beside_a_token_in_the_query(open_with: str) -> None:
    http = ScriptedWebSockets(HttpResponse(101))
    await opened(http, sender(http, access_token="a b", access_token_in="query", headers=BASIC), open_with)
    assert http.requests[0].url == IN_QUERY
    assert http.requests[0].headers["authorization"] == "Basic x"
    assert "Authorization" not in http.requests[0].headers


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "refresh"])
async def test_beside_the_users_own_authorization_every_request_has_the_token_in_its_query(method: str) -> None:
    http = ScriptedHttp(UNAUTHORIZED, OK, OK)
    sending = sender(http, access_token=Provider("old", "a b", "a b"), access_token_in="query", headers=BASIC)
    if method == "refresh":
        await sending.request("GET", HUB, timeout=None)
        await sending.refresh(HUB + "&id=1", "id", timeout=None, max_bytes=1)
    else:
        await sending.request(method, HUB + "&id=1", timeout=None)
        assert "access_token=old" in http.requests[0].url
    assert http.requests[-1].url == IN_QUERY
    for request in http.requests:
        assert request.headers["authorization"] == "Basic x"
        assert "Authorization" not in request.headers


async def test_at_another_origin_the_users_own_authorization_decides_nothing_unless_it_goes_along() -> None:
    options: dict[str, Any] = {"token": "service", "access_token_in": "query", "headers": BASIC}
    assert (await headers_of(ELSEWHERE, **options))["Authorization"] == "Bearer service"
    forwarded = await headers_of(ELSEWHERE, **options, forward_headers=["Authorization"])
    assert forwarded["authorization"] == "Basic x"
    assert "Authorization" not in forwarded


async def test_other_requests_carry_it_in_a_header_all_the_same() -> None:
    assert (await headers_of(access_token="abc", access_token_in="query"))["Authorization"] == "Bearer abc"


async def test_without_a_token_the_query_stays_as_it_is() -> None:
    http = ScriptedWebSockets(HttpResponse(101))
    await sender(http, access_token_in="query").connect_web_socket(HUB, OPTIONS)
    assert http.requests[0].url == HUB


# Redirects


async def test_the_token_of_a_redirect_replaces_the_provider_and_goes_where_negotiate_pointed() -> None:
    provider = Provider()
    assert (await headers_of(ELSEWHERE, token="service", access_token=provider))["Authorization"] == "Bearer service"
    assert (await headers_of(HUB, token="service", access_token=provider))["Authorization"] == "Bearer service"
    assert provider.calls == 0


async def test_a_401_with_the_token_of_a_redirect_is_the_answer() -> None:
    provider = Provider()
    sending = sender(ScriptedHttp(UNAUTHORIZED), access_token=provider)
    sending.token.use_from_redirect("service")
    assert (await sending.request("GET", ELSEWHERE, timeout=None)).status == 401
    assert provider.calls == 0


@pytest.mark.parametrize(
    "url", [ELSEWHERE, "http://example.com/hub", "https://example.com:444/hub", "https://sub.example.com/hub"]
)
async def test_nothing_of_the_user_goes_to_another_origin(url: str) -> None:
    provider = Provider()
    headers = await headers_of(
        url, access_token=provider, headers={"X-Own": "1", "Authorization": "x", "Cookie": "b=2"}, cookies={"a": "1"}
    )
    assert headers == {"User-Agent": USER_AGENT, "X-Requested-With": "XMLHttpRequest", "Accept": "*/*"}
    assert provider.calls == 0


async def test_a_401_of_another_origin_does_not_ask_the_provider() -> None:
    provider = Provider()
    answer = await sender(ScriptedHttp(UNAUTHORIZED), access_token=provider).request("GET", ELSEWHERE, timeout=None)
    assert answer.status == 401


async def test_forward_headers_names_what_may_go_along() -> None:
    headers = {"X-Tenant": "7", "X-Own": "1"}
    sent = await headers_of(ELSEWHERE, headers=headers, cookies={"a": "1"}, forward_headers=["x-tenant"])
    assert sent["X-Tenant"] == "7"
    assert "X-Own" not in sent
    assert "Cookie" not in sent


async def test_token_and_cookies_go_along_only_by_name() -> None:
    sent = await headers_of(
        ELSEWHERE, access_token="abc", cookies={"a": "1"}, forward_headers=["Authorization", "COOKIE"]
    )
    assert sent["Authorization"] == "Bearer abc"
    assert sent["Cookie"] == "a=1"


async def test_the_same_origin_may_be_written_in_another_way() -> None:
    assert (await headers_of("https://EXAMPLE.com:443/other", access_token="abc"))["Authorization"] == "Bearer abc"


# Cookies


async def test_cookies_of_the_user_go_along() -> None:
    headers = await headers_of(headers={"cookie": "c=3"}, cookies={"a": "1", "b": "2"})
    assert headers["Cookie"] == "c=3; a=1; b=2"
    assert "cookie" not in headers


def setting(*cookies: str) -> HttpResponse:
    return HttpResponse(200, tuple(("set-cookie", cookie) for cookie in cookies))


async def test_cookies_that_the_server_sets_go_back_and_replace_the_users() -> None:
    http = ScriptedHttp(setting("a=new; Path=/", "b=2; Path=/"), setting("b=; Path=/; Max-Age=0"), OK, OK)
    sending = sender(http, cookies={"a": "old", "c": "3"})
    for _ in range(3):
        await sending.request("POST", HUB, timeout=None)
    async with sending.stream(HUB):
        pass
    assert [request.headers.get("Cookie") for request in http.requests] == [
        "a=old; c=3",
        "c=3; a=new; b=2",
        "c=3; a=new",
        "c=3; a=new",
    ]


async def test_cookies_go_back_to_the_origin_that_set_them_only() -> None:
    http = ScriptedHttp(setting("a=1; Path=/"), setting("b=2; Path=/"), OK, OK)
    sending = sender(http)
    for url in (HUB, ELSEWHERE, HUB, ELSEWHERE):
        await sending.request("POST", url, timeout=None)
    assert [request.headers.get("Cookie") for request in http.requests] == [None, None, "a=1", "b=2"]


async def test_a_cookie_that_has_run_out_does_not_go_back() -> None:
    http = ScriptedHttp(setting("a=1; Path=/; Expires=Wed, 01 Jan 2020 00:00:00 GMT"), OK)
    sending = sender(http)
    for _ in range(2):
        await sending.request("POST", HUB, timeout=None)
    assert http.requests[1].headers.get("Cookie") is None


# The log


async def test_the_log_shows_method_url_and_status_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "signalr_sdk.http")
    http = ScriptedWebSockets(setting("a=secret"), OK, HttpResponse(101), HttpResponse(403))
    sending = sender(http, access_token="secret", headers={"X": "secret"})
    url = "https://example.com/hub?id=secret"
    await sending.request("POST", url, body=b"secret", timeout=None)
    async with sending.stream(url):
        pass
    await sending.connect_web_socket(url, OPTIONS)
    with pytest.raises(TransportError):
        await sending.connect_web_socket(url, OPTIONS)
    assert [record.getMessage() for record in caplog.records] == [
        "POST https://example.com/hub: status 200",
        "GET https://example.com/hub: status 200",
        "GET https://example.com/hub: status 101",
        "GET https://example.com/hub: status 403",
    ]


@pytest.mark.parametrize("make", [lambda error: error, lambda error: ConnectionResetError(str(error))])
async def test_failures_of_the_network_pass_through(make: Callable[[Exception], Exception]) -> None:
    error = make(TimeoutError("slow"))
    with pytest.raises(OSError, match="slow"):
        await sender(ScriptedHttp(error)).request("GET", HUB, timeout=None)
