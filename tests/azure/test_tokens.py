from __future__ import annotations

import sys
from typing import Any

import jwt
import pytest

from signalr_sdk.azure.tokens import ClientClaims, SigningKey, client_token, request_token

KEY = "not+base64/and=but-raw-text-and-long-enough-for-hs256"
AUDIENCE = "https://x.service.signalr.net/client/?hub=chat"
NOW = 1_700_000_000.75


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(
        token, KEY.encode(), ["HS256"], audience=AUDIENCE, options={"verify_exp": False, "verify_iat": False}
    )
    return found


def made(now: float = NOW, **client: Any) -> dict[str, Any]:
    return claims_of(client_token(SigningKey(KEY), AUDIENCE, ClientClaims(**client), now))


def test_a_token_for_nobody() -> None:
    token = client_token(SigningKey(KEY), AUDIENCE, ClientClaims(), NOW)
    assert claims_of(token) == {"aud": AUDIENCE, "iat": 1_700_000_000, "exp": 1_700_003_600}
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}


def test_a_user_and_claims() -> None:
    claims = {"role": ["a", "b"], "level": 3, "vip": True, "ratio": 0.5, "name": "ü"}
    found = made(user_id="anna/ü", claims=claims, lifetime=60)
    assert found.items() >= {"nameid": "anna/ü", "exp": 1_700_000_060, **claims}.items()


def test_names_that_tokens_use_themselves_are_set_apart() -> None:
    names = ["aud", "exp", "iat", "nbf", "iss", "actort", "acr", "azp", "c_hash", "jti", "nonce", "sub"]
    found = made(claims=dict.fromkeys(names, "mine"))
    assert found["aud"] == AUDIENCE
    assert found["exp"] == 1_700_003_600
    assert {name: found[f"asrs.u.{name}"] for name in names} == dict.fromkeys(names, "mine")
    assert "sub" not in found


def test_closing_on_expiration() -> None:
    found = made(close_on_expiration=True)
    assert (found["asrs.s.coae"], found["asrs.s.aeo"]) == ("true", "1700003600")


def test_time_goes_into_it() -> None:
    assert made(now=NOW + 3600)["exp"] == 1_700_007_200


def test_a_temporary_key_is_named() -> None:
    token = client_token(SigningKey(KEY, "key-7"), AUDIENCE, ClientClaims(), NOW)
    assert jwt.get_unverified_header(token)["kid"] == "key-7"


def test_a_request_token() -> None:
    assert claims_of(request_token(SigningKey(KEY), AUDIENCE, NOW)) == {
        "aud": AUDIENCE,
        "iat": 1_700_000_000,
        "exp": 1_700_000_900,
    }


@pytest.mark.parametrize(
    ("client", "error", "text"),
    [
        ({"user_id": 7}, TypeError, "user_id must be a str or None, not int"),
        ({"user_id": ""}, ValueError, "user_id is empty"),
        ({"lifetime": 0}, ValueError, "lifetime must be 1 second or more"),
        ({"lifetime": True}, ValueError, "lifetime must be 1 second or more"),
        ({"lifetime": float("nan")}, ValueError, "lifetime must be 1 second or more"),
        ({"lifetime": float("inf")}, ValueError, "lifetime must be 1 second or more, and finite"),
        ({"claims": {"a": float("inf")}}, ValueError, "the claim 'a' must be text, a number"),
        ({"claims": {7: "a"}}, TypeError, "name of a claim must be a str, not int"),
        ({"claims": {"asrs.s.uid": "admin"}}, ValueError, "'asrs.s.uid' is the service's own"),
        ({"claims": {"nameid": "admin"}}, ValueError, "use user_id="),
        ({"claims": {"a": None}}, ValueError, "the claim 'a' must be text, a number"),
        ({"claims": {"a": [1]}}, ValueError, "the claim 'a' must be text, a number"),
        ({"claims": {"a": {"b": "c"}}}, ValueError, "the claim 'a' must be text, a number"),
    ],
)
def test_what_no_token_can_say(client: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ClientClaims(**client)


def test_a_token_that_is_too_long() -> None:
    with pytest.raises(ValueError, match=r"over the service's limit of 4096: give fewer or shorter claims"):
        made(claims={"long": "x" * 3100})
    assert made(claims={"long": "x" * 2500})["long"] == "x" * 2500


@pytest.mark.parametrize(
    ("client", "plain"),
    [
        ({}, True),
        ({"user_id": "a", "lifetime": 60}, True),
        ({"lifetime": 90}, False),
        ({"claims": {"a": "b"}}, False),
        ({"claims": {}}, True),
        ({"close_on_expiration": True}, False),
    ],
)
def test_what_the_service_itself_can_make(client: dict[str, Any], *, plain: bool) -> None:
    assert ClientClaims(**client).plain is plain


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(SigningKey(KEY, "id"))


def test_a_missing_pyjwt_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'signalr-sdk\[azure\]'"):
        SigningKey(KEY)
