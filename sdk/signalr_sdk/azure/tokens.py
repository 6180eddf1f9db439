"""The tokens that Azure SignalR Service accepts: JSON web tokens signed with its access key, or a temporary one.

Pure: the time comes in. Source: DefaultServiceEndpointGenerator, ClaimsUtility and AccessKey of Azure/azure-signalr.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import attrs

Claims: TypeAlias = Mapping[str, str | float | bool | Iterable[str]]
"""Claims of a user: values are text, numbers, truth values, or several texts."""

LONGEST_TOKEN = 4096
_REQUEST_LIFETIME = 900  # seconds
# Names with a meaning of their own in a token: the service gives a user's claim so named back under its own name.
_RESERVED = frozenset({"aud", "exp", "iat", "nbf", "iss", "actort", "acr", "azp", "c_hash", "jti", "nonce", "sub"})
_RENAMED = "asrs.u."


@attrs.frozen
class SigningKey:
    """What tokens are signed with.

    Attributes:
        key: the access key, as text.
        key_id: names a temporary key.

    Raises:
        ModuleNotFoundError: PyJWT is missing.
    """

    key: str = attrs.field(repr=False)
    key_id: str | None = None

    def __attrs_post_init__(self) -> None:
        try:
            # Optional: the extra `azure`. Better missed here than in the middle of something.
            import jwt  # noqa: F401
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "tokens for Azure SignalR Service need an extra: pip install 'signalr-sdk[azure]'"
            ) from None

    def sign(self, claims: Mapping[str, object]) -> str:
        """Return a token with these claims."""
        # Optional, as above.
        import jwt

        headers = {"kid": self.key_id} if self.key_id is not None else None
        # The key looks like base64, but its text is the key.
        return jwt.encode(dict(claims), self.key.encode(), algorithm="HS256", headers=headers)


@attrs.frozen(kw_only=True)
class ClientClaims:
    """Who a client is, and what it may do.

    Attributes:
        user_id: the user; `None` for nobody.
        claims: more claims, which hubs and upstream get to see.
        lifetime: seconds in which the token can be used.
        close_on_expiration: the service closes the connection when the token runs out (reconnecting is allowed).
    """

    user_id: str | None = None
    claims: Claims | None = attrs.field(default=None, repr=False)
    lifetime: float = 3600.0
    close_on_expiration: bool = False

    def __attrs_post_init__(self) -> None:
        if self.user_id is not None and not isinstance(self.user_id, str):
            raise TypeError(f"user_id must be a str or None, not {type(self.user_id).__name__}")
        if self.user_id == "":
            raise ValueError("user_id is empty: leave it out for a client without a user")
        if isinstance(self.lifetime, bool) or not 1 <= self.lifetime < math.inf:
            raise ValueError(f"lifetime must be 1 second or more, and finite, not {self.lifetime!r}")
        _user_claims(self.claims or {})

    @property
    def plain(self) -> bool:
        """Whether the service itself can make the token: a user and whole minutes are all that it takes."""
        return not self.claims and not self.close_on_expiration and self.lifetime % 60 == 0


def client_token(key: SigningKey, audience: str, client: ClientClaims, now: float) -> str:
    """Return a token with which a client connects.

    Args:
        key: signs it.
        audience: the client URL, as the service knows it.
        client: who it is for.
        now: seconds since 1970.

    Raises:
        ValueError: it is longer than the service accepts.
    """
    expires = int(now + client.lifetime)
    claims: dict[str, object] = {"aud": audience, "iat": int(now), "exp": expires}
    if client.user_id is not None:
        claims["nameid"] = client.user_id
    if client.close_on_expiration:
        claims |= {"asrs.s.coae": "true", "asrs.s.aeo": str(expires)}
    token = key.sign(claims | _user_claims(client.claims or {}))
    if len(token) > LONGEST_TOKEN:
        raise ValueError(
            f"the token would have {len(token)} characters, over the service's limit of {LONGEST_TOKEN}: "
            "give fewer or shorter claims"
        )
    return token


def request_token(key: SigningKey, audience: str, now: float) -> str:
    """Return a token for a REST request."""
    return key.sign({"aud": audience, "iat": int(now), "exp": int(now + _REQUEST_LIFETIME)})


def _user_claims(claims: Claims) -> dict[str, object]:
    """Return the user's claims under the names that they have in a token."""
    found: dict[str, object] = {}
    for name, value in claims.items():
        if not isinstance(name, str):
            raise TypeError(f"the name of a claim must be a str, not {type(name).__name__}")
        if name.startswith("asrs."):
            raise ValueError(f"the claim {name!r} is the service's own: such names cannot be given to users")
        if name == "nameid":
            raise ValueError("the claim 'nameid' is the user's id: use user_id=")
        found[f"{_RENAMED}{name}" if name in _RESERVED else name] = _claim_value(name, value)
    return found


def _claim_value(name: str, value: object) -> object:
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list | tuple | set | frozenset) and all(isinstance(each, str) for each in value):
        return list(value)
    raise ValueError(f"the claim {name!r} must be text, a number, a truth value or a list of texts")
