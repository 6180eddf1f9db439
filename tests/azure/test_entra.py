"""Entra ID: tokens of REST requests and of clients, without an access key."""

from __future__ import annotations

import asyncio
import json
import threading
import traceback
from typing import Any, NamedTuple

import jwt
import pytest
from tests.doubles import ManualClock, ScriptedHttp
from tests.servers import assert_hides

from signalr_sdk.azure import AzureSignalR, AzureSignalRError
from signalr_sdk.interfaces import HttpResponse

STRING = "Endpoint=https://x.test;AuthType=azure;Version=1.0;"
SCOPE = "https://signalr.azure.com/.default"
NOW = 1_700_000_000.0
SECRET = "secret-of-the-credential"
ACCEPTED = HttpResponse(202)


class Token(NamedTuple):
    """Like azure.core.credentials.AccessToken."""

    token: str
    expires_on: int


class Credential:
    """A sync credential, with the tokens `entra-1`, `entra-2`, ..., each valid for an hour."""

    def __init__(self, clock: ManualClock) -> None:
        self.scopes: list[tuple[str, ...]] = []
        self.threads: set[int] = set()
        self._clock = clock

    def get_token(self, *scopes: str) -> Any:
        self.scopes.append(scopes)
        self.threads.add(threading.get_ident())
        return Token(f"entra-{len(self.scopes)}", int(self._clock()) + 3600)


class AsyncCredential(Credential):
    """The same as an async credential."""

    async def get_token(self, *scopes: str) -> Any:
        await asyncio.sleep(0)
        return super().get_token(*scopes)


class AwaitableCredential(Credential):
    """A credential whose plain `get_token` returns an awaitable."""

    def get_token(self, *scopes: str) -> Any:
        token = super().get_token(*scopes)

        async def later() -> Any:
            return token

        return later()


def azure_with(
    *answers: Any, kind: type[Credential] = AsyncCredential, hub: str = "Chat"
) -> tuple[AzureSignalR, ScriptedHttp, ManualClock, Credential]:
    clock = ManualClock(NOW)
    http, credential = ScriptedHttp(*answers), kind(clock)
    return AzureSignalR(STRING, hub, credential=credential, http=http, clock=clock), http, clock, credential


def bearers(http: ScriptedHttp) -> list[str]:
    return [request.headers["Authorization"] for request in http.requests]


# REST requests


@pytest.mark.parametrize("kind", [Credential, AsyncCredential, AwaitableCredential])
async def test_requests_carry_the_entra_token(kind: type[Credential]) -> None:
    azure, http, clock, credential = azure_with(*[ACCEPTED] * 4, kind=kind)
    await azure.send_all("m")
    clock.advance(3200)
    await azure.send_all("m")
    clock.advance(101)  # less than five minutes are left
    await azure.send_all("m")
    await azure.send_user("anna", "m")
    assert bearers(http) == ["Bearer entra-1"] * 2 + ["Bearer entra-2"] * 2
    assert credential.scopes == [(SCOPE,)] * 2
    assert (threading.get_ident() in credential.threads) is (kind is AsyncCredential)


async def test_requests_side_by_side_ask_for_one_token() -> None:
    azure, _http, _clock, credential = azure_with(*[ACCEPTED] * 20)
    await azure.send_users([f"u{n}" for n in range(20)], "m")
    assert len(credential.scopes) == 1


async def test_a_credential_that_fails() -> None:
    class Refusing:
        async def get_token(self, *_scopes: str) -> Any:
            error = RuntimeError("AADSTS700016: no such application")
            error.request = f"client_secret={SECRET}"  # type: ignore[attr-defined]
            raise error

    azure = AzureSignalR(STRING, "chat", credential=Refusing(), http=ScriptedHttp())
    with pytest.raises(AzureSignalRError, match=r"gave no token for .*default: AADSTS700016") as caught:
        await azure.send_all("m")
    assert_hides(caught.value, SECRET)
    assert caught.value.__context__ is None
    assert "Refusing" not in "".join(traceback.format_exception(caught.value.__cause__))


@pytest.mark.parametrize("answer", [None, "text", Token(7, 1), Token("a", "b")])  # type: ignore[arg-type]
async def test_what_is_no_token(answer: object) -> None:
    class Odd:
        def get_token(self, *_scopes: str) -> Any:
            return answer

    azure = AzureSignalR(STRING, "chat", credential=Odd(), http=ScriptedHttp())
    with pytest.raises(AzureSignalRError, match="must return an object with token and expires_on"):
        await azure.send_all("m")


@pytest.mark.parametrize("token", ["", "a\r\nX-Evil: 1", "ü"])
async def test_a_token_that_no_header_can_carry(token: str) -> None:
    class Odd:
        def get_token(self, *_scopes: str) -> Any:
            return Token(token, 2**40)

    http = ScriptedHttp()
    with pytest.raises(AzureSignalRError, match="no HTTP header can carry") as caught:
        await AzureSignalR(STRING, "chat", credential=Odd(), http=http).send_all("m")
    assert http.requests == []
    assert "Evil" not in str(caught.value)


# Clients


def temporary(key: str) -> HttpResponse:
    return HttpResponse(200, (), json.dumps({"KeyId": f"id-of-{key}", "AccessKey": key * 8}).encode())


async def test_the_service_makes_the_tokens_of_plain_clients() -> None:
    azure, http, _clock, _credential = azure_with(*[HttpResponse(200, (), b'{"token":"made-by-the-service"}')] * 2)
    answer = await azure.negotiate("an/na")
    assert answer == {"url": "https://x.test/client/?hub=chat", "accessToken": "made-by-the-service"}
    await azure.negotiate(lifetime=120)
    assert [(request.method, request.url) for request in http.requests] == [
        (
            "POST",
            "https://x.test/api/hubs/chat/:generateToken?api-version=2024-12-01&userId=an%2Fna&minutesToExpire=60",
        ),
        ("POST", "https://x.test/api/hubs/chat/:generateToken?api-version=2024-12-01&minutesToExpire=2"),
    ]
    assert bearers(http) == ["Bearer entra-1"] * 2


async def test_a_temporary_key_signs_for_the_others_and_is_renewed_in_time() -> None:
    azure, http, clock, _credential = azure_with(temporary("abcd"), temporary("efgh"))
    first = (await azure.negotiate("anna", {"role": "admin"}))["accessToken"]
    claims = jwt.decode(
        first, b"abcd" * 8, ["HS256"], audience="https://x.test/client/?hub=chat", options={"verify_exp": False}
    )
    assert (claims["nameid"], claims["role"], claims["exp"]) == ("anna", "admin", NOW + 3600)
    assert jwt.get_unverified_header(first)["kid"] == "id-of-abcd"
    clock.advance(55 * 60 - 1)
    second = (await azure.negotiate(lifetime=90))["accessToken"]
    assert jwt.get_unverified_header(second)["kid"] == "id-of-abcd"
    clock.advance(1)
    third = (await azure.negotiate(close_on_expiration=True))["accessToken"]
    assert jwt.get_unverified_header(third)["kid"] == "id-of-efgh"
    assert [(request.method, request.url) for request in http.requests] == [
        ("GET", "https://x.test/api/auth/accessKey?api-version=2024-12-01")
    ] * 2
    assert "abcd" not in repr(azure)


async def test_a_temporary_key_that_cannot_be_renewed_serves_until_its_end(caplog: pytest.LogCaptureFixture) -> None:
    refused = HttpResponse(403)
    azure, http, clock, _credential = azure_with(temporary("abcd"), *[refused] * 3)
    await azure.negotiate(claims={"a": "b"})
    for minutes, requests in ((84, 2), (1, 2), (3, 2), (1, 3)):
        # The key is asked for again after five minutes, and not for each token.
        clock.advance(minutes * 60)
        assert (await azure.negotiate(claims={"a": "b"}))["accessToken"]
        assert len(http.requests) == requests
    assert caplog.text.count("is not renewed yet") == 2
    clock.advance(60)
    with pytest.raises(AzureSignalRError, match="access is denied"):
        await azure.negotiate(claims={"a": "b"})


@pytest.mark.parametrize(
    ("claims", "body", "text"),
    [
        (None, b"{}", "the answer has no token"),
        (None, b'{"token":7}', "the answer has no token"),
        ({"a": "b"}, b'{"KeyId":"x"}', "the answer has no AccessKey"),
        ({"a": "b"}, b'{"AccessKey":"x","KeyId":""}', "the answer has no KeyId"),
    ],
)
async def test_answers_that_are_none(claims: dict[str, str] | None, body: bytes, text: str) -> None:
    azure, _http, _clock, _credential = azure_with(HttpResponse(200, (), body))
    with pytest.raises(AzureSignalRError, match=text):
        await azure.negotiate(claims=claims)


# Credentials that do not fit the connection string


def test_an_auth_type_needs_a_credential() -> None:
    with pytest.raises(ValueError, match=r"AuthType=azure\.msi, so credential= is needed") as caught:
        AzureSignalR("Endpoint=https://x.test;AuthType=azure.msi;ClientId=c;", "chat")
    assert "azure.identity.aio.ManagedIdentityCredential(...)" in str(caught.value)


def test_a_key_and_a_credential_are_too_much() -> None:
    with pytest.raises(ValueError, match="leave one of them out"):
        AzureSignalR(f"Endpoint=https://x.test;AccessKey={SECRET};", "chat", credential=Credential(ManualClock(NOW)))


def test_a_credential_has_get_token() -> None:
    with pytest.raises(TypeError, match="an object with get_token"):
        AzureSignalR(STRING, "chat", credential="token")  # type: ignore[arg-type]
