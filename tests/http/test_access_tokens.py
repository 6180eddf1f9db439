"""How a token provider is called: with a `TokenRequest` if it has exactly one required positional parameter."""

from __future__ import annotations

import asyncio
import functools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from tests.doubles import ScriptedHttp
from tests.servers import assert_hides

import signalr_sdk
from signalr_sdk import ConnectionFailedError, Timeouts, TokenRequest
from signalr_sdk._http.access_tokens import ask
from signalr_sdk._http.request_sender import RequestSender
from signalr_sdk.interfaces import HttpResponse

HUB = "https://example.com/hub"
OK, UNAUTHORIZED = HttpResponse(200), HttpResponse(401)
REQUEST = TokenRequest("connect")


def asked(provider: Any) -> Any:
    return ask(provider, REQUEST)


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def with_a_session(function: Callable[[str], Any]) -> Callable[[], Any]:
    """Give the function what it needs, as dependency injection does. `inspect.signature` shows one parameter."""

    @functools.wraps(function)
    def wrapper() -> Any:
        return function("session")

    return wrapper


def positional_only(request: Any, /) -> Any:
    return request


def with_default(request: Any, scope: str = "hub", *more: Any, audience: str = "") -> Any:
    del scope, more, audience
    return request


def all_optional(request: Any = "nothing", *more: Any) -> Any:
    del more
    return request


def two(first: Any, second: Any) -> Any:
    return first, second


class Login:
    """A provider as an object, and its methods."""

    def __call__(self, request: Any) -> Any:
        return request

    def method(self, request: Any) -> Any:
        return request

    def without(self) -> Any:
        return "nothing"

    @classmethod
    def of_class(cls, request: Any) -> Any:
        return request

    @staticmethod
    def of_nobody(request: Any) -> Any:
        return request


class Plain:
    def __call__(self) -> Any:
        return "nothing"


class Misleading:
    """Its signature cannot be read."""

    @property
    def __signature__(self) -> Any:
        raise RuntimeError("no signature")

    def __call__(self, *args: Any) -> Any:
        return args or "nothing"


@pytest.mark.parametrize(
    "provider",
    [
        lambda request: request,
        positional_only,
        with_default,
        Login(),
        Login().method,
        Login.of_class,
        Login.of_nobody,
        functools.partial(with_default, scope="other"),
        wrapped(positional_only),
        wrapped(Login().method),
        functools.cache(positional_only),
    ],
)
def test_who_gets_the_request(provider: Any) -> None:
    assert asked(provider) is REQUEST


def test_a_partial_gets_the_request_behind_its_own_arguments() -> None:
    assert asked(functools.partial(two, "scope")) == ("scope", REQUEST)
    assert asked(functools.partial(two, second="scope")) == (REQUEST, "scope")


class Token(str):
    """A class with a builtin constructor, whose signature Python does not know."""

    __slots__ = ()


@pytest.mark.parametrize(
    "provider",
    [
        lambda: "nothing",
        all_optional,
        lambda *args: args or "nothing",
        lambda **kwargs: kwargs or "nothing",
        Plain(),
        Login().without,
        functools.partial(two, "noth", "ing"),
        functools.partial(with_default, "nothing"),
        functools.partial(with_default, request="nothing"),
        wrapped(all_optional),
        wrapped(lambda: "nothing"),
        with_a_session(lambda session: "nothing" if session == "session" else session),
        functools.partial(next, iter(["nothing"])),
        iter(["nothing"]).__next__,
        {"token": "nothing"}.copy,
        Token,
        Misleading(),
    ],
)
def test_who_is_called_as_ever(provider: Any) -> None:
    assert asked(provider) in ("nothing", ("noth", "ing"), {"token": "nothing"}, "")


@pytest.mark.parametrize("provider", [two, lambda *, request: request])
def test_who_cannot_be_called(provider: Any) -> None:
    with pytest.raises(TypeError, match="missing"):
        asked(provider)


async def test_async_providers_get_it_too() -> None:
    requests: list[TokenRequest] = []

    class AsyncLogin:
        async def __call__(self, request: TokenRequest) -> str:
            requests.append(request)
            return "abc"

    async def provide(request: TokenRequest) -> str:
        requests.append(request)
        return "abc"

    for provider in (AsyncLogin(), provide, functools.partial(provide), wrapped(provide)):
        http = ScriptedHttp(OK)
        await sender(http, provider).request("POST", HUB, timeout=None)
        assert http.requests[0].headers["Authorization"] == "Bearer abc"
    assert requests == [REQUEST] * 4


# What it says


def sender(http: ScriptedHttp, provider: Any, *attempts: int) -> RequestSender:
    number = functools.partial(next, iter(attempts), 0)
    return RequestSender(http, HUB, access_token=provider, timeouts=Timeouts(), attempt=number)


def keeping(requests: list[TokenRequest], *tokens: str | None) -> Callable[[TokenRequest], str | None]:
    left = list(tokens)

    def provide(request: TokenRequest) -> str | None:
        requests.append(request)
        return left.pop(0)

    return provide


async def test_a_provider_learns_why_and_which_token_was_refused() -> None:
    requests: list[TokenRequest] = []
    sending = sender(ScriptedHttp(UNAUTHORIZED, OK, OK), keeping(requests, "old", "new", "newer"), 2, 3)
    await sending.request("POST", HUB, timeout=None)
    await sending.refresh(HUB, "id", timeout=None, max_bytes=10)
    assert requests == [
        TokenRequest("connect", attempt=2),
        TokenRequest("refused", refused="old", attempt=3),
        TokenRequest("refresh"),
    ]


async def test_a_provider_that_gave_no_token_learns_that_one_is_wanted() -> None:
    requests: list[TokenRequest] = []
    await sender(ScriptedHttp(UNAUTHORIZED, OK), keeping(requests, None, "new")).request("GET", HUB, timeout=None)
    assert requests == [TokenRequest("connect"), TokenRequest("refused")]


async def test_requests_that_are_refused_together_ask_once() -> None:
    requests: list[TokenRequest] = []
    sending = sender(ScriptedHttp(), keeping(requests, "old", "new"))
    assert await sending.token.get() == "old"
    assert await asyncio.gather(*(sending.token.renew("old") for _ in range(3))) == [True] * 3
    assert requests[1:] == [TokenRequest("refused", refused="old")]


async def test_a_resumed_connection_asks_as_for_an_attempt() -> None:
    requests: list[TokenRequest] = []
    sending = sender(ScriptedHttp(), keeping(requests, "old", "new"), 0, 1)
    assert await sending.token.get() == "old"
    sending.token.forget()
    assert await sending.token.get() == "new"
    assert requests == [TokenRequest("connect"), TokenRequest("connect", attempt=1)]


async def test_the_refused_token_is_in_no_text() -> None:
    def provide(request: TokenRequest) -> str:
        if request.reason == "refused":
            raise LookupError("no other token")
        return "token-secret"

    with pytest.raises(ConnectionFailedError) as caught:
        await sender(ScriptedHttp(UNAUTHORIZED), provide).request("GET", HUB, timeout=None)
    assert_hides(caught.value, "token-secret")
    request = TokenRequest("refused", refused="token-secret", attempt=1)
    assert repr(request) == "TokenRequest(reason='refused', attempt=1)"


def test_a_request_is_a_value() -> None:
    request = TokenRequest("refused", refused="a", attempt=1)
    assert request == TokenRequest("refused", refused="a", attempt=1) != TokenRequest("refused", attempt=1)
    assert pickle.loads(pickle.dumps(request)) == request
    with pytest.raises(AttributeError):
        request.attempt = 2  # type: ignore[misc]
    assert signalr_sdk.TokenRequest is signalr_sdk.interfaces.TokenRequest
