"""Negotiation without HTTP: what is asked, what is made of each answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalr_sdk._core.negotiation import Endpoint, NegotiateRequest, OfferedTransport, negotiate
from signalr_sdk.errors import ClassicServerError, NegotiationError
from signalr_sdk.interfaces import HttpResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

HUB = "https://example.com/hub?room=secret"
ASKED = "https://example.com/hub/negotiate?room=secret&negotiateVersion=1"
SHOWN = "https://example.com/hub/negotiate"

OFFER = [
    {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
    {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
]
TRANSPORTS = (
    OfferedTransport("WebSockets", frozenset({"Text", "Binary"})),
    OfferedTransport("ServerSentEvents", frozenset({"Text"})),
)
GOOD = {"negotiateVersion": 1, "connectionId": "public", "connectionToken": "token", "availableTransports": OFFER}
LIST = "availableTransports"


def reply(
    body: object = None, status: int = 200, headers: Iterable[tuple[str, str]] = (), *, kind: str | None = None
) -> HttpResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    typed = [("content-type", kind)] if kind else []
    return HttpResponse(status, (*headers, *typed), data)


def run(*answers: HttpResponse, url: str = HUB, **options: Any) -> tuple[Endpoint, list[NegotiateRequest]]:
    """Play the answers, and return the endpoint and what was asked."""
    steps = negotiate(url, **options)
    asked = [next(steps)]
    for answer in answers[:-1]:
        asked.append(steps.send(answer))  # noqa: PERF401  # a generator would swallow StopIteration
    with pytest.raises(StopIteration) as stop:
        steps.send(answers[-1])
    endpoint = stop.value.value
    assert isinstance(endpoint, Endpoint)
    return endpoint, asked


def failure(*answers: HttpResponse, url: str = HUB, **options: Any) -> NegotiationError:
    """Play the answers, the last of which must be refused, and return the error."""
    steps = negotiate(url, **options)
    next(steps)
    for answer in answers[:-1]:
        steps.send(answer)
    with pytest.raises(NegotiationError) as raised:
        steps.send(answers[-1])
    error = raised.value
    assert "secret" not in f"{error} {error!r} {error.__cause__!r}"
    assert str(error).isprintable()
    return error


# Good answers


def test_version_1_connects_with_the_token() -> None:
    endpoint, asked = run(reply(GOOD))
    assert endpoint == Endpoint(HUB, "public", "token", TRANSPORTS)
    assert asked == [NegotiateRequest(ASKED)]


@pytest.mark.parametrize("version", [{}, {"negotiateVersion": 0}, {"negotiateVersion": None}])
def test_version_0_connects_with_the_id_also_if_a_token_is_there(version: dict[str, object]) -> None:
    rest = {name: value for name, value in GOOD.items() if name != "negotiateVersion"}
    endpoint, _ = run(reply({**rest, **version}))
    assert (endpoint.connection_id, endpoint.connection_token) == ("public", "public")


def test_a_later_version_is_read_as_version_1() -> None:
    endpoint, _ = run(reply({**GOOD, "negotiateVersion": 7}))
    assert endpoint.connection_token == "token"


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("kind", [None, "application/json", "text/plain; charset=utf-8", "text/html", "nonsense"])
def test_any_good_status_and_any_content_type(status: int, kind: str | None) -> None:
    endpoint, _ = run(reply(GOOD, status, kind=kind))
    assert endpoint.connection_id == "public"


def test_a_byte_order_mark_and_blanks_are_no_matter() -> None:
    endpoint, _ = run(reply(b"\xef\xbb\xbf \r\n" + json.dumps(GOOD).encode() + b"\n"))
    assert endpoint.transports == TRANSPORTS


def test_unknown_members_transports_and_formats_are_tolerated() -> None:
    offer = [
        {"transport": "CarrierPigeon", "transferFormats": ["Feather"], "speed": {"unit": "m/s"}},
        {"transport": "LongPolling"},
        {"transport": "WebSockets", "transferFormats": None},
    ]
    endpoint, _ = run(reply({**GOOD, LIST: offer, "new": {"nested": [1]}, "error": None, "url": None}))
    assert endpoint.transports == (
        OfferedTransport("CarrierPigeon", frozenset({"Feather"})),
        OfferedTransport("LongPolling", frozenset()),
        OfferedTransport("WebSockets", frozenset()),
    )


@pytest.mark.parametrize("empty", [{"error": ""}, {"url": ""}, {"accessToken": ""}])
def test_empty_members_are_as_good_as_none(empty: dict[str, str]) -> None:
    endpoint, _ = run(reply({**GOOD, **empty}))
    assert endpoint == Endpoint(HUB, "public", "token", TRANSPORTS)


@pytest.mark.parametrize(
    ("stateful", "answer", "granted"), [(True, True, True), (True, False, False), (True, None, False)]
)
def test_stateful_reconnect_is_asked_for_and_granted_or_not(stateful: bool, answer: object, granted: bool) -> None:
    endpoint, asked = run(reply({**GOOD, "useStatefulReconnect": answer}), stateful=stateful)
    assert endpoint.stateful is granted
    assert asked[0].url.endswith("&negotiateVersion=1&useStatefulReconnect=true")


@pytest.mark.parametrize("answer", [True, "true", 1])
def test_stateful_reconnect_that_was_not_asked_for_is_ignored(answer: object) -> None:
    endpoint, asked = run(reply({**GOOD, "useStatefulReconnect": answer}))
    assert not endpoint.stateful
    assert asked[0].url == ASKED


@pytest.mark.parametrize(
    ("seconds", "lifetime"), [(60, 60.0), (1.5, 1.5), (0, 0.0), (-1, None), (None, None), (10**400, 2.0**31)]
)
def test_the_lifetime_of_the_token(seconds: object, lifetime: float | None) -> None:
    endpoint, _ = run(reply({**GOOD, "tokenLifetimeSeconds": seconds}))
    assert endpoint.token_lifetime == lifetime


# Redirects


def test_a_redirect_is_followed_with_its_token() -> None:
    target = "https://other.example:8443/client?hub=chat&sig=a%2fb"
    endpoint, asked = run(reply({"url": target, "accessToken": "t1", LIST: []}), reply(GOOD))
    assert asked == [
        NegotiateRequest(ASKED),
        NegotiateRequest(
            "https://other.example:8443/client/negotiate?hub=chat&sig=a%2fb&negotiateVersion=1", access_token="t1"
        ),
    ]
    assert endpoint == Endpoint(target, "public", "token", TRANSPORTS, access_token="t1")


def test_the_token_of_the_last_hop_that_gave_one_stays() -> None:
    first = {"url": "https://a.example/x", "accessToken": "t1"}
    endpoint, asked = run(reply(first), reply({"url": "https://b.example/y"}), reply(GOOD))
    assert [request.access_token for request in asked] == [None, "t1", "t1"]
    assert endpoint.access_token == "t1"
    endpoint, asked = run(reply(first), reply({"url": "https://b.example/y", "accessToken": "t2"}), reply(GOOD))
    assert [request.access_token for request in asked] == [None, "t1", "t2"]
    endpoint, _ = run(reply(first), reply({**GOOD, "accessToken": "t3"}))
    assert endpoint.access_token == "t3"


def test_the_last_lifetime_that_was_given_wins() -> None:
    endpoint, _ = run(reply({"url": "https://a.example/x", "tokenLifetimeSeconds": 60}), reply(GOOD))
    assert endpoint.token_lifetime == 60.0
    answers = [
        reply({"url": "https://a.example/x", "tokenLifetimeSeconds": 60}),
        reply({**GOOD, "tokenLifetimeSeconds": 0}),
    ]
    assert run(*answers)[0].token_lifetime == 0.0


@pytest.mark.parametrize(
    ("target", "asked_url", "hub"),
    [
        ("wss://a.example/x", "https://a.example/x/negotiate?negotiateVersion=1", "https://a.example/x"),
        ("http://a.example", "http://a.example/negotiate?negotiateVersion=1", "http://a.example/"),
        (
            "http://a.example/x?negotiateVersion=0",
            "http://a.example/x/negotiate?negotiateVersion=0",
            "http://a.example/x?negotiateVersion=0",
        ),
        (
            "http://a.example/x/negotiate",
            "http://a.example/x/negotiate/negotiate?negotiateVersion=1",
            "http://a.example/x/negotiate",
        ),
    ],
)
def test_where_a_redirect_leads(target: str, asked_url: str, hub: str) -> None:
    endpoint, asked = run(reply({"url": target}), reply(GOOD), url="http://example.com/hub")
    assert asked[1].url == asked_url
    assert endpoint.url == hub


def test_a_redirect_may_carry_a_connection_token_and_is_not_classic() -> None:
    endpoint, _ = run(reply({"url": "https://a.example/x", "connectionToken": "t"}), reply(GOOD))
    assert endpoint.url == "https://a.example/x"


def test_redirects_are_followed_up_to_the_limit() -> None:
    hop = reply({"url": "https://a.example/x?secret"})
    endpoint, asked = run(*[hop] * 100, reply(GOOD))
    assert len(asked) == 101
    assert endpoint.connection_id == "public"
    error = failure(*[hop] * 101)
    assert error.message == "redirected more than 100 times"
    assert error.url == "https://a.example/x/negotiate"
    assert "more than 2 times" in str(failure(hop, hop, hop, limit=2))


@pytest.mark.parametrize(
    "target",
    [
        "/hub",
        "hub?secret",
        "//a.example/x",
        "ftp://a.example/x",
        "https://me:secret@a.example/x",
        "http://",
        "\nx\x00y",
    ],
)
def test_a_redirect_to_where_no_hub_can_be(target: str) -> None:
    error = failure(reply({"url": target}))
    assert "the server redirects to" in str(error)
    assert (error.url, error.status) == (SHOWN, 200)


# Bad answers


def test_the_servers_own_refusal_is_the_text() -> None:
    error = failure(reply({"error": "This connection is\r\nnot allowed.", **GOOD}))
    assert error.message == "the server refused: This connection is not allowed."
    assert (error.url, error.status, error.attempts) == (SHOWN, 200, ())
    long = failure(reply({"error": "x" * 1000 + "secret"}))
    assert long.message == "the server refused: " + "x" * 200 + "…"


@pytest.mark.parametrize(
    "answer",
    [
        {
            "Url": "/signalr",
            "ConnectionToken": "x",
            "ConnectionId": "y",
            "TryWebSockets": True,
            "ProtocolVersion": "1.5",
        },
        {"ProtocolVersion": "2.0", "RedirectUrl": "https://a.example"},
        {"protocolVersion": "1.5"},
        {"Url": "/signalr", "ConnectionToken": "x"},
        {"url": "/signalr", "connectionToken": "x"},
    ],
)
def test_a_classic_server_is_told_from_a_broken_one(answer: dict[str, object]) -> None:
    error = failure(reply(answer))
    assert isinstance(error, ClassicServerError)
    assert "classic ASP.NET SignalR" in str(error)
    assert "use signalr_sdk.classic.HubConnection" in str(error)
    assert (error.url, error.status) == (SHOWN, 200)


@pytest.mark.parametrize("status", [400, 405])
def test_a_refused_post_may_come_from_a_classic_server(status: int) -> None:
    assert "signalr_sdk.classic.HubConnection" in str(failure(reply(status=status)))


@pytest.mark.parametrize("marker", [{"ProtocolVersion": "1.5"}, {"Url": "/x", "ConnectionToken": "y"}])
def test_a_core_answer_with_odd_members_is_not_classic(marker: dict[str, str]) -> None:
    assert run(reply({**GOOD, **marker}))[0].connection_id == "public"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "the answer is empty, not JSON"),
        (b" \r\n", "the answer is empty, not JSON"),
        (b"<html>A proxy's login page</html>", "is HTML, not JSON: does a proxy or login page"),
        (b"\xef\xbb\xbf\n<!doctype html>", "is HTML"),
        (b"OK", "the answer is not JSON: 'OK'"),
        (b'{"url": "https://a', "the answer is not JSON"),
        (b"\xff\xfe{}", "the answer is not JSON"),
        (b"[" * 100_000, "the answer is not JSON"),
        (b"x" * 1000, "the answer is not JSON: '" + "x" * 200 + "…'"),
        (b"[1]", "the answer is not a JSON object: '[1]'"),
        (b"null", "the answer is not a JSON object"),
        (b'"text"', "the answer is not a JSON object"),
        (b"{}", "the answer has no connectionId"),
    ],
)
def test_an_answer_that_is_none(body: bytes, text: str) -> None:
    error = failure(reply(body))
    assert text in str(error)
    assert (error.url, error.status) == (SHOWN, 200)
    assert not isinstance(error, ClassicServerError)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"connectionId": None}, "the answer has no connectionId"),
        ({"connectionId": ""}, "the answer has no connectionId"),
        ({"connectionId": " "}, "the answer has no connectionId"),
        ({"connectionId": 5}, "connectionId is not text"),
        ({"connectionToken": None}, "the answer has no connectionToken"),
        ({"connectionToken": ""}, "the answer has no connectionToken"),
        ({"connectionToken": ["t"]}, "connectionToken is not text"),
        ({"negotiateVersion": "1"}, "negotiateVersion is not an integer"),
        ({"negotiateVersion": True}, "negotiateVersion is not an integer"),
        ({"negotiateVersion": 1.5}, "negotiateVersion is not an integer"),
        ({LIST: None}, "offers no transports"),
        ({LIST: []}, "offers no transports"),
        ({LIST: "WebSockets"}, "availableTransports is not a list"),
        ({LIST: ["WebSockets"]}, "availableTransports is not a list of objects that name a transport"),
        ({LIST: [{"transferFormats": []}]}, "availableTransports is not a list of objects"),
        ({LIST: [{"transport": "WebSockets", "transferFormats": "Text"}]}, "transferFormats is not a list"),
        ({LIST: [{"transport": "WebSockets", "transferFormats": [1]}]}, "transferFormats is not a list of texts"),
        ({"url": 5}, "url is not text"),
        ({"error": {"message": "x"}}, "error is not text"),
        ({"accessToken": 5}, "accessToken is not text"),
        ({"accessToken": "a\r\nX-Evil: secret"}, "characters that no HTTP header can carry"),
        ({"accessToken": "ä"}, "characters that no HTTP header can carry"),
        ({"tokenLifetimeSeconds": "60"}, "tokenLifetimeSeconds is not a number"),
        ({"tokenLifetimeSeconds": True}, "tokenLifetimeSeconds is not a number"),
    ],
)
def test_members_that_are_missing_or_wrong(change: dict[str, object], text: str) -> None:
    error = failure(reply({**GOOD, **change}))
    assert text in str(error)
    assert (error.url, error.status) == (SHOWN, 200)


def test_a_wrong_answer_about_stateful_reconnect() -> None:
    error = failure(reply({**GOOD, "useStatefulReconnect": "yes"}), stateful=True)
    assert "useStatefulReconnect is not true or false" in str(error)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (101, "the server refused"),
        (400, "the server refused"),
        (401, "pass access_token=, or check"),
        (403, "access is denied"),
        (404, "not a SignalR endpoint, or a proxy"),
        (405, "takes no POST there"),
        (407, "proxy="),
        (429, "too many requests"),
        (500, "the server failed"),
        (503, "not available at the moment"),
        (504, "the server failed"),
    ],
)
def test_a_bad_status_comes_with_advice(status: int, advice: str) -> None:
    error = failure(reply(b"", status))
    assert advice in error.message
    assert (error.url, error.status, error.retry_after) == (SHOWN, status, None)
    assert str(error).endswith(f"({SHOWN}, status {status})")


def test_retry_after_is_handed_on() -> None:
    error = failure(reply(b"", 429, [("retry-after", "7")]))
    assert error.retry_after == 7.0
    assert "it asks to wait 7 s" in str(error)
    date = reply(b"", 503, [("Retry-After", "Fri, 15 Jan 2027 08:00:30 GMT")])
    assert failure(date, now=1_800_000_000.0).retry_after == 30.0
    assert failure(date).retry_after is None


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ([("Location", "https://me:secret@login.example/start?return=secret")], "https://login.example/start, which"),
        ([("location", "/login#secret")], "redirect to /login, which"),
        ([("Location", "/a\r\nb")], "redirect to /a b, which"),
        ([], "an address that it does not name"),
        ([("Location", "?secret")], "an address that it does not name"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_an_http_redirect_is_not_followed(status: int, location: list[tuple[str, str]], shown: str) -> None:
    error = failure(reply(b"<html>secret", status, location))
    assert shown in str(error)
    assert "not followed" in str(error)
    assert error.status == status


@pytest.mark.parametrize("status", [404, 405])
def test_the_negotiate_url_given_by_mistake_is_noticed(status: int) -> None:
    for url in ("https://example.com/hub/negotiate", "https://example.com/hub/negotiate/?x"):
        assert "give the hub's URL without that" in str(failure(reply(b"", status), url=url))
    assert "without that" not in str(failure(reply(b"", status)))
    assert "without that" not in str(failure(reply(b"", 500), url="https://example.com/hub/negotiate"))


@pytest.mark.parametrize("status", [404, 405])
def test_a_url_without_a_path_is_noticed(status: int) -> None:
    for url in ("https://example.com", "https://example.com/", "https://example.com?a=/hub"):
        assert "a hub has a path, such as /chat" in str(failure(reply(b"", status), url=url))
    assert "has a path" not in str(failure(reply(b"", status)))


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"Azure SignalR Service is not connected yet.", "text/plain", "Azure SignalR Service is not connected yet."),
        (b"No way.\nHeaders: secret", "text/plain; charset=utf-8", "No way."),
        (b"No way.", None, "No way."),
        (b'{\n "message": "expired"\n}', "application/problem+json", '{ "message": "expired" }'),
        (b"<html>secret", "text/html", None),
        (b"<html>secret", None, None),
        (b"", "application/json", None),
        (b"caf\xc3\xa9 \xff\x00", "text/plain", "café �"),
        (b"?access_token=secret is invalid", "text/plain", "?access_token=*** is invalid"),
        (b"x" * 5000, "text/plain", "x" * 200 + "…"),
    ],
)
def test_what_the_server_says_is_quoted_but_no_pages(body: bytes, kind: str | None, said: str | None) -> None:
    message = failure(reply(body, 500, kind=kind)).message
    assert message == ("the server failed" if said is None else f"the server failed; it says: {said}")


def test_an_error_after_a_redirect_names_the_hop() -> None:
    error = failure(reply({"url": "https://a.example/x?secret"}), reply(b"", 401))
    assert (error.url, error.status) == ("https://a.example/x/negotiate", 401)


def test_nothing_secret_in_any_repr() -> None:
    hop = reply({"url": "https://a.example/x?sig=secret", "accessToken": "secret"})
    endpoint, asked = run(hop, reply({**GOOD, "connectionToken": "secret"}))
    assert "secret" not in f"{endpoint!r} {asked!r}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = [*GOOD, "url", "accessToken", "error", "useStatefulReconnect", "tokenLifetimeSeconds", "ProtocolVersion"]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(MEMBERS), json_values), st.sampled_from([200, 204, 302, 401, 500]))
def test_any_json_gives_an_endpoint_a_request_or_a_negotiation_error(changes: dict[str, object], status: int) -> None:
    steps = negotiate(HUB, stateful=True)
    next(steps)
    end: object
    try:
        end = steps.send(reply({**GOOD, **changes}, status))
    except StopIteration as stop:
        end = stop.value
    except NegotiationError as error:
        end = error
    assert isinstance(end, NegotiateRequest | Endpoint | NegotiationError)


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_a_negotiation_error(body: bytes) -> None:
    failure(reply(body))


# Hostile answers


@pytest.mark.parametrize("token", [None, "token"])
@pytest.mark.parametrize("target", ["http://a.example/x", "ws://a.example/x", "http://example.com/hub"])
def test_a_redirect_never_leaves_https(target: str, token: str | None) -> None:
    """The token would go over the network for everybody to read."""
    error = failure(reply({"url": target, "accessToken": token}))
    assert "from https to http" in str(error)
    later = failure(reply({"url": "https://a.example/x"}), reply({"url": target, "accessToken": token}))
    assert "from https to http" in str(later)


def test_a_redirect_may_gain_https() -> None:
    endpoint, _ = run(reply({"url": "https://a.example/x"}), reply(GOOD), url="http://example.com/hub")
    assert endpoint.url == "https://a.example/x"


@pytest.mark.parametrize("text", ["a\nb", "a\r\nX-Forged: 1", "\0", "half\ud800"])
def test_a_connection_token_that_no_header_can_carry_is_refused(text: str) -> None:
    old = {name: value for name, value in GOOD.items() if name != "negotiateVersion"}
    for answer in ({**GOOD, "connectionToken": text}, {**old, "connectionId": text}):
        assert "has a connection token with characters" in str(failure(reply(answer)))


def test_a_redirect_to_an_endless_url_is_refused_in_few_words() -> None:
    error = failure(reply({"url": "https://a.example/" + "x" * 100_000}))
    assert "too long" in str(error)
    assert len(str(error)) < 1000


def test_the_url_of_a_server_is_cut_in_the_text_and_whole_in_the_attribute() -> None:
    url = "https://a.example/" + "x" * 5000
    error = failure(reply({"url": url}), HttpResponse(500))
    assert error.url == f"{url}/negotiate"
    assert len(str(error)) < 1000
