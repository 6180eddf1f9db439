"""`AzureSignalR` with prepared HTTP answers: its requests, its repetitions, and its results."""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import ssl
import traceback
from typing import Any

import httpx
import jwt
import msgpack
import pytest
import respx
from tests.doubles import ManualClock, ScriptedHttp
from tests.servers import assert_hides

from signalr_sdk import Timeouts
from signalr_sdk.azure import AzureSignalR, AzureSignalRError, GroupConnection
from signalr_sdk.errors import RemoteProtocolError
from signalr_sdk.interfaces import HttpRequest, HttpResponse

KEY = "KeyKeyKeyKeyKeyKeyKeyKeyKeyKeyKeyKeyKeyKeyK="
STRING = f"Endpoint=https://x.test;AccessKey={KEY};Version=1.0;"
NOW = 1_700_000_000.0
ACCEPTED = HttpResponse(202)
API = "https://x.test/api/hubs/chat"


class Naps:
    """A double for `asyncio.sleep`, which records the delays."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def azure_with(*answers: Any, **options: Any) -> tuple[AzureSignalR, ScriptedHttp, Naps]:
    http, naps = ScriptedHttp(*answers), Naps()
    azure = AzureSignalR(options.pop("string", STRING), "Chat", http=http, clock=ManualClock(NOW), **options)
    azure._rest._sleep = naps
    return azure, http, naps


def refused(status: int, code: str | None = None, body: bytes = b"", **headers: str) -> HttpResponse:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return HttpResponse(status, (*pairs, *([("X-Ms-Error-Code", code)] if code else [])), body)


def asked(http: ScriptedHttp) -> list[tuple[str, str]]:
    """Return method and URL of each request, without the parts that all requests have in common."""
    return [(each.method, each.url.removeprefix(API).replace("?api-version=2024-12-01", "?")) for each in http.requests]


# Requests


OPERATIONS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[str, str], int]] = [
    ("send_all", ("m", 1), {}, ("POST", "/:send?"), 202),
    ("send_all", ("m",), {"excluded": ["a b", "c"]}, ("POST", "/:send?&excluded=a%20b&excluded=c"), 202),
    ("send_user", ("u/1", "m"), {}, ("POST", "/users/u%2F1/:send?"), 202),
    ("send_users", (["u"], "m"), {}, ("POST", "/users/u/:send?"), 202),
    ("send_group", ("g", "m"), {"excluded": ["c"]}, ("POST", "/groups/g/:send?&excluded=c"), 202),
    ("send_groups", (["g"], "m"), {}, ("POST", "/groups/g/:send?"), 202),
    ("send_connection", ("c", "m"), {}, ("POST", "/connections/c/:send?"), 202),
    ("send_connections", (["c"], "m"), {}, ("POST", "/connections/c/:send?"), 202),
    ("add_to_group", ("c", "g"), {}, ("PUT", "/groups/g/connections/c?"), 200),
    ("remove_from_group", ("c", "g"), {}, ("DELETE", "/groups/g/connections/c?"), 200),
    ("remove_from_all_groups", ("c",), {}, ("DELETE", "/connections/c/groups?"), 200),
    ("add_user_to_group", ("u", "g"), {}, ("PUT", "/users/u/groups/g?"), 200),
    ("add_user_to_group", ("u", "g"), {"ttl": 0}, ("PUT", "/users/u/groups/g?&ttl=0"), 202),
    ("remove_user_from_group", ("u", "g"), {}, ("DELETE", "/users/u/groups/g?"), 204),
    ("remove_user_from_all_groups", ("u",), {}, ("DELETE", "/users/u/groups?"), 204),
    ("connection_exists", ("c",), {}, ("HEAD", "/connections/c?"), 200),
    ("user_exists", ("u",), {}, ("HEAD", "/users/u?"), 200),
    ("group_exists", ("g",), {}, ("HEAD", "/groups/g?"), 200),
    ("user_in_group", ("u", "g"), {}, ("HEAD", "/users/u/groups/g?"), 200),
    ("close_connection", ("c", "ü&"), {}, ("DELETE", "/connections/c?&reason=%C3%BC%26"), 200),
    ("close_all", (), {"excluded": ["c"]}, ("POST", "/:closeConnections?&excluded=c"), 204),
    ("close_group", ("g", "r"), {}, ("POST", "/groups/g/:closeConnections?&reason=r"), 204),
    ("close_user", ("u",), {"reason": "r"}, ("POST", "/users/u/:closeConnections?&reason=r"), 204),
]


@pytest.mark.parametrize(("name", "args", "options", "request_", "status"), OPERATIONS)
async def test_each_operation_is_this_request(
    name: str, args: tuple[Any, ...], options: dict[str, Any], request_: tuple[str, str], status: int
) -> None:
    azure, http, _naps = azure_with(HttpResponse(status))
    result = await getattr(azure, name)(*args, **options)
    assert result is (True if "exists" in name or name == "user_in_group" else None)
    assert asked(http) == [request_]
    (request,) = http.requests
    claims = jwt.decode(
        request.headers["Authorization"].removeprefix("Bearer "),
        KEY.encode(),
        ["HS256"],
        audience=request.url.partition("?")[0],
        options={"verify_exp": False},
    )
    assert claims["exp"] > NOW
    assert request.headers["User-Agent"].startswith("Microsoft SignalR/")
    if name.startswith("send"):
        assert request.headers["Content-Type"] == "application/json; charset=utf-8"
        assert json.loads(request.body) == {"target": "m", "arguments": [1] if 1 in args else []}
    else:
        assert request.body == b""
    assert (request.connect_timeout, request.timeout) == (15, 30)


async def test_health_takes_no_token() -> None:
    azure, http, _naps = azure_with(HttpResponse(200))
    assert await azure.health()
    assert asked(http) == [("HEAD", "https://x.test/api/health?")]
    assert "Authorization" not in http.requests[0].headers


async def test_health_that_is_not_good() -> None:
    azure, http, _naps = azure_with(HttpResponse(503), ConnectionError("gone"))
    assert not await azure.health()
    with pytest.raises(AzureSignalRError, match="cannot ask Azure SignalR Service: gone"):
        await azure.health()
    assert not http.answers


async def test_names_are_checked_before_anything_is_sent() -> None:
    azure, http, _naps = azure_with()
    for wrong in (
        azure.send_user("..", "m"),
        azure.send_users(["a", ""], "m"),
        azure.send_group("x" * 1025, "m"),
        azure.send_all("m", excluded=["."]),
        azure.add_user_to_group("u", "g", ttl=-1),
        azure.add_user_to_group("u", "g", ttl=1.5),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=r"user|group|connection|ttl"):
            await wrong
    for size in (0, 201):
        with pytest.raises(ValueError, match="page_size must be from 1 to 200"):
            azure.group_connections("g", page_size=size)
    assert http.requests == []


async def test_values_that_json_lacks_go_in_both_encodings() -> None:
    azure, http, _naps = azure_with(ACCEPTED)
    await azure.send_all("m", b"\x00")
    (request,) = http.requests
    assert request.headers["Content-Type"] == "application/octet-stream"
    assert msgpack.unpackb(request.body).keys() == {"json", "messagepack"}


async def test_a_service_that_takes_json_only(caplog: pytest.LogCaptureFixture) -> None:
    azure, http, _naps = azure_with(refused(415), ACCEPTED, refused(415), refused(400, "Error.Request.Invalid"))
    await azure.send_all("m", b"\x00")
    assert json.loads(http.requests[1].body) == {"target": "m", "arguments": ["AA=="]}
    assert "the service takes JSON only" in caplog.text
    with pytest.raises(AzureSignalRError, match=r"Error\.Request\.Invalid"):
        await azure.send_all("m", b"\x00")


async def test_another_refusal_of_both_encodings_is_one() -> None:
    azure, http, _naps = azure_with(refused(413))
    with pytest.raises(AzureSignalRError, match="1 MB is the limit"):
        await azure.send_all("m", b"\x00")
    assert len(http.requests) == 1


# Repeating


@pytest.mark.parametrize("status", [429, 503])
async def test_what_was_not_taken_up_is_repeated(status: int) -> None:
    azure, http, naps = azure_with(refused(status), refused(status), ACCEPTED)
    await azure.send_all("m")
    assert len(http.requests) == 3
    assert len(naps.seconds) == 2


@pytest.mark.parametrize("error", [socket.gaierror(-2, "no such host"), ConnectionRefusedError("refused")])
async def test_what_never_left_is_repeated(error: Exception) -> None:
    azure, http, _naps = azure_with(error, ACCEPTED)
    await azure.send_all("m")
    assert len(http.requests) == 2


UNCERTAIN: list[Any] = [
    refused(408),
    refused(500),
    refused(502),
    refused(504),
    ConnectionResetError("reset"),
    TimeoutError("slow"),
]


@pytest.mark.parametrize("answer", UNCERTAIN, ids=str)
async def test_a_send_that_may_have_arrived_is_not_repeated(answer: Any) -> None:
    azure, http, naps = azure_with(answer, answer)
    for send in (azure.send_group("g", "m"), azure.invoke_connection("c", "m")):
        with pytest.raises(AzureSignalRError):
            await send
    assert len(http.requests) == 2
    assert naps.seconds == []


@pytest.mark.parametrize("answer", UNCERTAIN, ids=str)
async def test_what_may_be_done_twice_is_repeated(answer: Any) -> None:
    azure, http, naps = azure_with(answer, HttpResponse(200))
    await azure.add_to_group("c", "g")
    assert len(http.requests) == 2
    assert 0 <= naps.seconds[0] <= 10


@pytest.mark.parametrize(
    "answer", [refused(400), refused(401), refused(403), refused(413), ssl.SSLCertVerificationError("no")], ids=str
)
async def test_what_will_not_get_better_is_not_repeated(answer: Any) -> None:
    azure, http, _naps = azure_with(answer)
    with pytest.raises(AzureSignalRError):
        await azure.add_to_group("c", "g")
    assert len(http.requests) == 1


async def test_it_gives_up_after_three_repetitions() -> None:
    azure, http, naps = azure_with(*[refused(503, Retry_After="7")] * 4)
    with pytest.raises(AzureSignalRError, match="status 503") as caught:
        await azure.send_all("m")
    assert len(http.requests) == 4
    assert caught.value.retry_after == 7
    assert naps.seconds == [pytest.approx(7, abs=3.1)] * 3
    assert min(naps.seconds) >= 7


async def test_who_is_asked_to_wait_for_long_is_told_at_once() -> None:
    azure, http, _naps = azure_with(refused(429, Retry_After="3600"))
    with pytest.raises(AzureSignalRError) as caught:
        await azure.send_all("m")
    assert (len(http.requests), caught.value.retry_after) == (1, 3600)


async def test_a_refused_token_is_followed_by_the_one_that_a_decoding_server_wants() -> None:
    twice = [refused(401)] * 2
    azure, http, _naps = azure_with(refused(401), ACCEPTED, *twice, refused(401), ACCEPTED)
    await azure.send_group("50%41", "m")
    audiences = [
        jwt.decode(each.headers["Authorization"][7:], options={"verify_signature": False})["aud"]
        for each in http.requests
    ]
    assert audiences == [f"{API}/groups/50%2541/:send", f"{API}/groups/50%41/:send"]
    for group in ("50%41", "50%"):
        with pytest.raises(AzureSignalRError, match="check the AccessKey"):
            await azure.send_group(group, "m")
    await azure.send_group("50%41", "m")
    assert not http.answers


# Answers


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (refused(400, "A.B.C", b'{"code":"x","message":"bad\\nthing"}'), "A.B.C", "it says: A.B.C: bad thing"),
        (refused(400, None, b'{"code":"A.B","message":"bad"}'), "A.B", "it says: A.B: bad"),
        (refused(400, None, b'{"error":{"code":"A.B","message":"bad"}}'), "A.B", "it says: A.B: bad"),
        (refused(400, None, b'{"error":"bad"}'), None, "it says: bad"),
        (refused(400, None, b'{"code":7,"message":[]}'), None, "does not accept the request"),
        (refused(400, None, b"plain words"), None, "it says: plain words"),
        (refused(400, None, b"<html>page</html>"), None, "does not accept the request"),
        (refused(400, None, b"[" * 100_000), None, "it says: [[["),
        (refused(403), None, "access keys may be switched off"),
        (refused(404), None, "check the Endpoint"),
        (refused(414), None, "names in the request are too long"),
        (refused(302), None, "the service refused"),
        (refused(501), None, "the service failed"),
        (refused(400, None, b"Bearer abcdef is wrong"), None, r"it says: Bearer \*\*\* is wrong"),
    ],
)
async def test_refusals(answer: HttpResponse, code: str | None, text: str) -> None:
    azure, _http, _naps = azure_with(answer)
    with pytest.raises(AzureSignalRError) as caught:
        await azure.send_user("anna", "m")
    error = caught.value
    assert (error.status, error.code) == (answer.status, code)
    assert text.replace("\\", "") in str(error)
    assert str(error).endswith(f"({API}/users/anna/:send, status {answer.status})")
    assert_hides(error, KEY, "eyJ", "api-version")


@pytest.mark.parametrize(
    ("question", "codes"),
    [
        (("connection_exists", "c"), ["Warning.Connection.NotExisted", None]),
        (("user_exists", "u"), ["Warning.User.NotExisted", None]),
        (("group_exists", "g"), ["Warning.Group.NotExisted", None]),
        (("user_in_group", "u", "g"), ["Info.User.NotInGroup", "Warning.User.NotExisted", None]),
    ],
)
async def test_a_question_is_answered_with_no(question: tuple[str, ...], codes: list[str | None]) -> None:
    azure, _http, _naps = azure_with(*(refused(404, code) for code in codes), refused(404, "Error.Hub.Unknown"))
    name, *args = question
    for _ in codes:
        assert await getattr(azure, name)(*args) is False
    with pytest.raises(AzureSignalRError, match=r"Error\.Hub\.Unknown"):
        await getattr(azure, name)(*args)


async def test_ending_what_does_not_exist_is_no_error() -> None:
    gone = refused(404, "Warning.Connection.NotExisted")
    azure, _http, _naps = azure_with(gone, gone, refused(404, "Error.Hub.Unknown"))
    await azure.close_connection("c")
    await azure.remove_from_all_groups("c")
    with pytest.raises(AzureSignalRError, match=r"Error\.Hub\.Unknown"):
        await azure.close_connection("c")


@pytest.mark.parametrize(
    ("body", "text"),
    [(b"", "not a JSON object: is this the service"), (b"[1]", "not a JSON object"), (b"<html>", "not a JSON object")],
)
async def test_answers_that_are_none(body: bytes, text: str) -> None:
    azure, _http, _naps = azure_with(HttpResponse(200, (), body))
    with pytest.raises(AzureSignalRError, match=text):
        await azure.invoke_connection("c", "m")


async def test_an_answer_over_the_limit() -> None:
    azure, http, _naps = azure_with(RemoteProtocolError("an HTTP answer is over the limit"))
    with pytest.raises(AzureSignalRError, match="over the limit"):
        await azure.invoke_connection("c", "m")
    assert http.requests[0].max_bytes is not None


async def test_a_timeout_below_is_no_timeout_of_the_call() -> None:
    azure, http, _naps = azure_with(TimeoutError("connecting took too long"), timeouts=Timeouts(invoke=5))
    with pytest.raises(AzureSignalRError, match="connecting took too long"):
        await azure.invoke_connection("c", "m")
    assert http.requests[0].timeout is None


# Pages


def page(*ids: str, link: object = None) -> HttpResponse:
    value = [{"connectionId": each, "userId": f"user-{each}"} for each in ids]
    return HttpResponse(200, (), json.dumps({"value": value, "nextLink": link}).encode())


async def test_pages_follow_each_other_at_our_endpoint() -> None:
    azure, http, _naps = azure_with(
        page("a", "b", link="http://elsewhere.test/steal?api-version=1&continuationToken=x%2F1"), page(), page("c")
    )
    http.answers[1] = page(link=f"{API}/groups/g/connections?continuationToken=2")
    found = [each async for each in azure.group_connections("g", page_size=2)]
    assert found == [GroupConnection(each, f"user-{each}") for each in "abc"]
    assert asked(http) == [
        ("GET", "/groups/g/connections?&maxpagesize=2"),
        ("GET", "/groups/g/connections?api-version=1&continuationToken=x%2F1"),
        ("GET", "/groups/g/connections?continuationToken=2"),
    ]


async def test_a_page_is_asked_for_when_it_is_wanted() -> None:
    azure, http, _naps = azure_with(page("a", link="?2"))
    async for _each in azure.group_connections("g"):
        break
    assert len(http.requests) == 1


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b'{"value":{}}', "no list of connections"),
        (b"{}", "no list of connections"),
        (b'{"value":[7]}', "no connection"),
        (b'{"value":[{"connectionId":7}]}', "no connection"),
        (b'{"value":[{"connectionId":"a","userId":7}]}', "no connection"),
        (b'{"value":[],"nextLink":7}', "nextLink is not a URL"),
        (b'{"value":[],"nextLink":"?a b"}', "nextLink is not a URL"),
        (b'{"value":[],"nextLink":"?a\\r\\nX-Evil: 1"}', "nextLink is not a URL"),
        ('{"value":[],"nextLink":"?ü"}'.encode(), "nextLink is not a URL"),
    ],
)
async def test_pages_that_are_none(answer: bytes, text: str) -> None:
    azure, _http, _naps = azure_with(HttpResponse(200, (), answer))
    with pytest.raises(AzureSignalRError, match=text):
        _ = [each async for each in azure.group_connections("g")]


async def test_pages_that_never_end() -> None:
    azure, http, _naps = azure_with(page("a", link="?2"), page("b", link="?3"), page("c", link="?2"))
    with pytest.raises(AzureSignalRError, match="never end"):
        _ = [each async for each in azure.group_connections("g")]
    assert len(http.requests) == 3


# Fan-outs


class Crowd:
    """An `HttpClient` that counts how many requests run at the same time, and that refuses some targets."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.reached: list[str] = []
        self.running = self.most = 0
        self.hold = asyncio.Event()

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        self.running += 1
        self.most = max(self.most, self.running)
        await self.hold.wait()
        self.running -= 1
        target = request.url.split("/")[-2]
        if target in self.refused:
            return refused(400, "Error.User.Invalid")
        self.reached.append(target)
        return ACCEPTED

    def stream(self, request: HttpRequest, /) -> Any:
        raise NotImplementedError


async def test_a_fan_out_runs_side_by_side_within_bounds() -> None:
    crowd = Crowd()
    azure = AzureSignalR(STRING, "chat", http=crowd)
    users = [f"u{n}" for n in range(100)]
    sending = asyncio.create_task(azure.send_users(users, "m"))
    for _ in range(200):
        await asyncio.sleep(0)
    assert crowd.running == 16
    crowd.hold.set()
    await sending
    assert sorted(crowd.reached) == sorted(users)
    assert crowd.most == 16


async def test_a_partial_failure_says_who_was_not_reached() -> None:
    crowd = Crowd("u3", "u7", *(f"v{n}" for n in range(9)))
    crowd.hold.set()
    azure = AzureSignalR(STRING, "chat", http=crowd)
    with pytest.raises(ExceptionGroup, match="2 of 10 users were not reached: 'u3', 'u7'") as caught:
        await azure.send_users([f"u{n}" for n in range(10)], "m")
    assert [error.target for error in caught.value.exceptions if isinstance(error, AzureSignalRError)] == ["u3", "u7"]
    assert len(crowd.reached) == 8
    with pytest.raises(ExceptionGroup, match=r"9 of 9 users were not reached: 'v0', .* and 4 more"):
        await azure.send_users([f"v{n}" for n in range(9)], "m")


async def test_failures_stand_in_the_order_of_the_targets() -> None:
    later = asyncio.Event()

    class Backwards(Crowd):
        async def request(self, request: HttpRequest, /) -> HttpResponse:
            if "/users/last/" in request.url:
                later.set()
            else:
                await later.wait()
            return refused(400)

    azure = AzureSignalR(STRING, "chat", http=Backwards())
    with pytest.raises(ExceptionGroup, match="3 of 3 users were not reached: 'first', 'middle', 'last'"):
        await azure.send_users(["first", "middle", "last"], "m")


async def test_a_fan_out_to_nobody_and_one_that_is_cancelled() -> None:
    crowd = Crowd()
    azure = AzureSignalR(STRING, "chat", http=crowd)
    await azure.send_groups([], "m")
    sending = asyncio.create_task(azure.send_connections(["a", "b"], "m"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert crowd.running == 2
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert crowd.reached == []


# Letting clients in


async def test_negotiate_with_a_reverse_proxy() -> None:
    string = f"{STRING}ClientEndpoint=https://proxy.test/signalr"
    azure, http, _naps = azure_with(string=string, application="Shop")
    answer = await azure.negotiate("anna", {"role": "admin"}, 60)
    assert answer["url"] == "https://proxy.test/signalr/client/?hub=shop_chat"
    claims = jwt.decode(answer["accessToken"], options={"verify_signature": False})
    assert claims == {
        "aud": "https://x.test/client/?hub=shop_chat",
        "iat": NOW,
        "exp": NOW + 60,
        "nameid": "anna",
        "role": "admin",
    }
    assert http.requests == []
    assert azure.hub == "shop_chat"


def test_connect_makes_url_and_token_itself() -> None:
    azure, _http, _naps = azure_with()
    hub = azure.connect("anna", protocol="messagepack")
    assert hub.url == "https://x.test/client/?hub=chat"
    for name in ("url", "access_token"):
        with pytest.raises(TypeError, match=f"connect\\(\\) makes {name} itself"):
            azure.connect(**{name: "x"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="user_id is empty"):
        azure.connect("")


# Life of the object


async def test_closing_leaves_the_users_client_open_and_ends_our_own() -> None:
    async with httpx.AsyncClient() as client:
        async with AzureSignalR(STRING, "chat", http=client):
            pass
        assert not client.is_closed
    azure = AzureSignalR(STRING, "chat")
    async with azure:
        pass
    await azure.close()
    azure._rest._sleep = naps = Naps()
    for wrong in (azure.send_all("m"), azure.user_exists("anna"), azure.health()):
        with pytest.raises(AzureSignalRError, match="this AzureSignalR is closed"):
            await wrong
    with pytest.raises(ExceptionGroup, match="1 of 1 users were not reached"):
        await azure.send_users(["anna"], "m")
    assert naps.seconds == []


def test_the_error_pickles() -> None:
    error = AzureSignalRError("no", 400, code="A.B", url="https://x.test", retry_after=3.0, target="anna")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.code, again.retry_after, again.target) == (str(error), "A.B", 3.0, "anna")


@respx.mock
async def test_an_httpx_client_does_it_all() -> None:
    send = respx.post(f"{API}/:send", params={"api-version": "2024-12-01"}).respond(202)
    exists = respx.head(f"{API}/users/anna").respond(404, headers={"x-ms-error-code": "Warning.User.NotExisted"})
    add = respx.put(f"{API}/groups/g/connections/c").respond(200)
    close = respx.delete(f"{API}/connections/c", params={"reason": "r"}).respond(200)
    pages = respx.get(f"{API}/groups/g/connections").respond(200, json={"value": [{"connectionId": "c"}]})
    async with httpx.AsyncClient() as client, AzureSignalR(STRING, "chat", http=client) as azure:
        await azure.send_all("m", 1)
        assert not await azure.user_exists("anna")
        await azure.add_to_group("c", "g")
        await azure.close_connection("c", "r")
        assert [each async for each in azure.group_connections("g")] == [GroupConnection("c")]
    assert all(route.call_count == 1 for route in (send, exists, add, close, pages))
    assert json.loads(send.calls.last.request.content) == {"target": "m", "arguments": [1]}


# Secrets


@pytest.mark.parametrize("answer", [refused(403), OSError("the network is down"), RemoteProtocolError("too large")])
async def test_no_frame_of_a_failed_request_holds_a_token(answer: Any) -> None:
    azure, http, _naps = azure_with(*[answer] * 3)
    with pytest.raises(AzureSignalRError) as caught:
        await azure.send_user("anna", "Receive", 1)
    token = http.requests[0].headers["Authorization"].removeprefix("Bearer ")
    for frame, _line in traceback.walk_tb(caught.value.__traceback__):
        if "signalr_sdk" in frame.f_code.co_filename:
            shown = repr(frame.f_locals)
            assert token not in shown
            assert KEY not in shown
