"""Negotiation of classic SignalR without HTTP: what is asked, what is made of each answer."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from signalr_sdk import CoreServerError, NegotiationError
from signalr_sdk.classic.negotiation import Endpoint, Negotiated, agreed_version, negotiate, negotiated_members
from signalr_sdk.classic.request_urls import Address
from signalr_sdk.interfaces import HttpResponse

ADDRESS = Address("https://example.com/signalr?room=secret", "[]")
# As a real server answers
GOOD = {
    "Url": "/signalr",
    "ConnectionToken": "HpLMEIvD+/=",
    "ConnectionId": "6afb5f65",
    "KeepAliveTimeout": 4.0,
    "DisconnectTimeout": 6.0,
    "ConnectionTimeout": 5.0,
    "TryWebSockets": False,
    "ProtocolVersion": "1.5",
    "TransportConnectTimeout": 7.0,
    "LongPollDelay": 0.5,
}
NEGOTIATED = Negotiated(
    connection_id="6afb5f65",
    connection_token="HpLMEIvD+/=",
    keep_alive_timeout=4.0,
    disconnect_timeout=6.0,
    connection_timeout=5.0,
    connect_timeout=7.0,
    long_poll_delay=0.5,
    web_sockets=False,
    version="1.5",
)


def reply(body: object = None, status: int = 200) -> HttpResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, (), data)


def run(*answers: HttpResponse, address: Address = ADDRESS) -> tuple[Endpoint, list[tuple[str, str | None]]]:
    """Play the answers, and return the endpoint and what was asked."""
    steps = negotiate(address)
    asked = [next(steps)]
    for answer in answers[:-1]:
        asked.append(steps.send(answer))  # noqa: PERF401  # a generator would swallow StopIteration
    with pytest.raises(StopIteration) as stop:
        steps.send(answers[-1])
    return stop.value.value, [(request.url, request.access_token) for request in asked]


def failure(answer: HttpResponse, *, address: Address = ADDRESS, hubs: tuple[str, ...] = ()) -> NegotiationError:
    steps = negotiate(address, hubs=hubs)
    next(steps)
    with pytest.raises(NegotiationError) as raised:
        steps.send(answer)
    assert "secret" not in f"{raised.value} {raised.value!r}"
    return raised.value


def test_what_is_asked_and_what_is_answered() -> None:
    endpoint, asked = run(reply(GOOD))
    assert asked == [
        ("https://example.com/signalr/negotiate?room=secret&clientProtocol=2.1&connectionData=%5B%5D", None)
    ]
    assert endpoint == Endpoint(attrs.evolve(ADDRESS, token="HpLMEIvD+/="), NEGOTIATED)
    assert "HpLMEIvD" not in repr(endpoint)
    assert negotiated_members(NEGOTIATED, "/signalr") == GOOD


def test_most_members_may_be_missing() -> None:
    endpoint, _asked = run(reply({name: GOOD[name] for name in ("ConnectionToken", "ConnectionId", "ProtocolVersion")}))
    negotiated = endpoint.negotiated
    assert (negotiated.keep_alive_timeout, negotiated.disconnect_timeout) == (None, 30.0)
    assert negotiated.web_sockets


@pytest.mark.parametrize("timeout", [None, 0])
def test_a_server_without_keep_alive(timeout: int | None) -> None:
    assert run(reply({**GOOD, "KeepAliveTimeout": timeout}))[0].negotiated.keep_alive_timeout is None


def test_a_redirect_replaces_query_and_token() -> None:
    first = {"ProtocolVersion": "2.0", "RedirectUrl": "https://azure.example/aspnetclient?asrs=1", "AccessToken": "one"}
    second = {**first, "RedirectUrl": "https://two.example/aspnetclient"}
    del second["AccessToken"]
    endpoint, asked = run(reply(first), reply(second), reply(GOOD))
    assert asked[1:] == [
        ("https://azure.example/aspnetclient/negotiate?asrs=1&clientProtocol=2.1&connectionData=%5B%5D", "one"),
        ("https://two.example/aspnetclient/negotiate?clientProtocol=2.1&connectionData=%5B%5D", "one"),
    ]
    assert endpoint.address.url == "https://two.example/aspnetclient"
    assert endpoint.access_token == "one"
    assert "one" not in repr(endpoint).replace("None", "")


def test_redirects_have_an_end() -> None:
    steps = negotiate(ADDRESS, limit=1)
    next(steps)
    answer = reply({"ProtocolVersion": "2.0", "RedirectUrl": "https://example.com/signalr"})
    steps.send(answer)
    with pytest.raises(NegotiationError, match="more than 1 times"):
        steps.send(answer)


@pytest.mark.parametrize("body", [{"availableTransports": []}, {"negotiateVersion": 1, "url": "https://a"}])
def test_a_core_server(body: dict[str, Any]) -> None:
    error = failure(reply(body))
    assert isinstance(error, CoreServerError)
    assert "use signalr_sdk.HubConnection" in str(error)


@pytest.mark.parametrize("version", ["1.3", "0", "2.2", "3.0", "x", "2"])
def test_versions_that_are_not_supported(version: str) -> None:
    error = failure(reply({**GOOD, "ProtocolVersion": version}))
    assert repr(version) in str(error)
    assert "2.1" in str(error)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"Error": "no licence"}, "the server refused: no licence"),
        ({"ConnectionToken": ""}, "no ConnectionToken"),
        ({"ConnectionToken": "a\r\n"}, "connection token"),
        ({"ConnectionId": None}, "no ConnectionId"),
        ({"ProtocolVersion": None}, "no ProtocolVersion"),
        ({"ProtocolVersion": 2}, "ProtocolVersion is not text"),
        ({"DisconnectTimeout": "6"}, "DisconnectTimeout is not a number of seconds"),
        ({"DisconnectTimeout": -1}, "DisconnectTimeout is not"),
        ({"KeepAliveTimeout": True}, "KeepAliveTimeout is not"),
        ({"ConnectionTimeout": float("inf")}, "ConnectionTimeout is not"),
        ({"AccessToken": "a b\n"}, "an AccessToken with characters"),
        ({"RedirectUrl": "ftp://a"}, "where no hub can be"),
    ],
)
def test_answers_that_cannot_be_used(change: dict[str, Any], text: str) -> None:
    assert text in str(failure(reply({**GOOD, **change})))


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (401, "one of the hubs wants authentication (Chat, News)"),
        (403, "one of the hubs (Chat, News)"),
        (404, "check the path of the URL ("),
        (405, "signalr_sdk.HubConnection"),
        (500, "perhaps it does not know one of the hubs (Chat, News)"),
        (503, "not available"),
        (302, "which is not followed"),
    ],
)
def test_what_a_status_may_mean(status: int, text: str) -> None:
    error = failure(reply(b"", status), hubs=("Chat", "News"))
    assert text in str(error)
    assert error.status == status


def test_without_hubs_none_is_named() -> None:
    assert "hubs wants authentication: pass" in str(failure(reply(b"", 401)))
    assert str(failure(reply(b"", 500))).startswith("the server failed (")


def test_a_url_without_a_path() -> None:
    for url in ("https://example.com/", "https://example.com"):
        assert "usually answer at /signalr" in str(failure(reply(b"", 404), address=Address(url)))


def test_the_versions_that_a_server_agrees_to() -> None:
    """As a real server does it."""
    asked = {"": "1.2", "1.0": "1.2", "1.2": "1.2", "1.3": "1.3", "1.4": "1.4", "1.5": "1.5", "2.0": "2.0"}
    asked |= {"2.1": "2.0", "2.2": "2.0", "9.9": "2.0", "x": "1.2"}
    assert {version: agreed_version(version) for version in asked} == asked
    assert agreed_version(None) == "1.2"
