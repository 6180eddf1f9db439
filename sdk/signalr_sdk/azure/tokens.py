"""Makes the JSON web tokens (JWT) that Azure SignalR Service accepts, signed with an access key or a temporary key.

No function reads a clock: the time is an argument. Source: DefaultServiceEndpointGenerator, ClaimsUtility and AccessKey
of Azure/azure-signalr.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import attrs

Claims: TypeAlias = Mapping[str, str | float | bool | Iterable[str]]
"""Claims of a user. A value is a text, a number, a truth value, or several texts."""

LONGEST_TOKEN = 4096
_REQUEST_LIFETIME = 900  # seconds
# Claims that have a meaning in every JWT, for example the expiration time. A user's claim with one of these names gets
# the prefix `_RENAMED` in the token, which the service removes again; without the prefix, the claim would change the
# meaning of the token.
_RESERVED = frozenset({"aud", "exp", "iat", "nbf", "iss", "actort", "acr", "azp", "c_hash", "jti", "nonce", "sub"})
_RENAMED = "asrs.u."


@attrs.frozen
class SigningKey:
    """A key that signs tokens: an access key, or a temporary key that the service has given out.

    Attributes:
        key: the text of the key.
        key_id: id of a temporary key; `None` for an access key.

    Raises:
        ModuleNotFoundError: PyJWT is missing.
    """

    key: str = attrs.field(repr=False)
    key_id: str | None = None

    def __attrs_post_init__(self) -> None:
        try:
            # Import PyJWT only here, since it belongs to the extra `azure`. Import it in the constructor too, and not
            # only in `sign`: a missing package is then an error at the start of the program, not at the first request.
            import jwt  # noqa: F401
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "tokens for Azure SignalR Service need an extra: pip install 'signalr-sdk[azure]'"
            ) from None

    def sign(self, claims: Mapping[str, object]) -> str:
        """Return a signed token (a JWT) with these claims."""
        # Import PyJWT only here, since it belongs to the extra `azure`.
        import jwt

        headers = {"kid": self.key_id} if self.key_id is not None else None
        # Do not decode the access key, although it looks like base64: the service signs with the bytes of the text.
        return jwt.encode(dict(claims), self.key.encode(), algorithm="HS256", headers=headers)


@attrs.frozen(kw_only=True)
class ClientClaims:
    """The contents of the token with which a client connects to the service.

    Attributes:
        user_id: id of the user; `None` for a client without a user.
        claims: further claims, which hubs and upstream endpoints can read.
        lifetime: seconds for which the token is valid.
        close_on_expiration: whether the service closes the connection when the token expires; the client may reconnect.

    Raises:
        TypeError: an attribute, or a name in `claims`, has a wrong type.
        ValueError: an attribute or a claim is not allowed.
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
        """Whether the service can make the token: it holds only a user and a lifetime in whole minutes."""
        return not self.claims and not self.close_on_expiration and self.lifetime % 60 == 0


def client_token(key: SigningKey, audience: str, client: ClientClaims, now: float) -> str:
    """Return a signed token with which a client can connect to the service.

    Args:
        key: the key to sign with.
        audience: the URL to which the client connects, without a port: the token is for this URL only.
        client: the contents of the token.
        now: the time in seconds since 1970.

    Raises:
        ValueError: the token is longer than the service accepts.
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
    """Return a signed token for REST requests to one URL, valid for 15 minutes.

    Args:
        key: the key to sign with.
        audience: the URL without its query.
        now: the time in seconds since 1970.
    """
    return key.sign({"aud": audience, "iat": int(now), "exp": int(now + _REQUEST_LIFETIME)})


def _user_claims(claims: Claims) -> dict[str, object]:
    """Check a user's claims, and return a dict from the name that each claim has in the token to its value.

    Raises:
        TypeError: the name of a claim is no text.
        ValueError: a claim has a name that only the service may set, or a value that a token cannot have.
    """
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
