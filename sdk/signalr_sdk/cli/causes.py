"""From what went wrong to its probable cause and what to do about it. Pure: no I/O, and the clock comes in."""

from __future__ import annotations

import base64
import errno
import json
from typing import TYPE_CHECKING

import attrs

from .. import (
    ClassicServerError,
    ConnectionClosedError,
    HandshakeError,
    NegotiationError,
    NotConnectedError,
    TransportError,
)
from .._core import urls
from .findings import Reason

if TYPE_CHECKING:
    import ssl

    from .. import Transport
    from .._core.negotiation import Endpoint
    from ..interfaces import HttpResponse

_AZURE_HOSTS = (".service.signalr.net", ".signalr.azure.cn", ".signalr.azure.us")
_LOGIN_WORDS = ("login", "signin", "sign-in", "logon", "account", "oauth", "authorize", "saml", "sso")

# Of the network


def of_name(host: str, *, is_proxy: bool) -> Reason:
    """Why a name has no address."""
    whose = "the proxy's URL" if is_proxy else "the URL"
    return Reason(
        f"no name server that is asked from here knows {host}: it is misspelt, or known only inside another network",
        f"check the host in {whose}; inside a VPN or container check its name servers",
    )


def of_connect(error: OSError, port: int, *, is_proxy: bool) -> Reason:
    """Why no TCP connection came to be."""
    if is_proxy:
        return Reason(
            "the proxy cannot be reached: it does not run, or that is not its address",
            "check --proxy and the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY)",
        )
    if isinstance(error, ConnectionRefusedError):
        return Reason(
            f"the machine is there, but nothing listens on port {port}",
            "start the server, check the port in the URL, and that it listens on this address and not on loopback only",
        )
    if isinstance(error, TimeoutError):
        return Reason(
            "the machine is off or not there, or a firewall drops what is sent to it",
            f"check the host, and whether this network lets connections to port {port} out",
        )
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return Reason("there is no route to that network from here", "check the network, VPN or container")
    return Reason("the network refuses the connection", "check the host and port, and the firewalls on the way")


def of_tunnel(status: int | None) -> Reason:
    """Why a proxy made no tunnel."""
    if status == 407:
        return Reason(
            "the proxy wants a user and password",
            "put them into its URL: --proxy http://user:password@proxy:3128, or the same in the environment",
        )
    if status is None:
        return Reason(
            "what listens there is no HTTP proxy",
            "check the proxy's URL; SOCKS proxies need another HTTP client",
        )
    return Reason(
        "the proxy does not let connections to that host and port through",
        "have it allowed there (method CONNECT), or name the host in NO_PROXY if it can be reached directly",
    )


# Of certificates


@attrs.frozen
class Certificate:
    """What a certificate says.

    Attributes:
        names: for which hosts it is.
        issuer: who signed it.
        begins: seconds since 1970.
        ends: likewise.
    """

    names: tuple[str, ...]
    issuer: str
    begins: float
    ends: float

    def days_left(self, now: float) -> int:
        """Return whole days until it expires; negative if it has."""
        return int((self.ends - now) / 86400)


# By OpenSSL's numbers.
_CERTIFICATES = {
    9: Reason("the certificate is not valid yet", "check the clock of this machine, then that of the server"),
    10: Reason("the certificate has expired{when}", "renew it on the server, and have that done by itself"),
    18: Reason("the certificate is signed by itself", "pass it as --ca FILE, or use one from an authority"),
    19: Reason(
        "the certificate comes from an authority{issuer} of its own, which this machine does not trust",
        "pass that authority's certificate as --ca FILE (in Python: ssl.create_default_context(cafile=...))",
    ),
    20: Reason(
        "the certificate comes from an authority{issuer} that this machine does not trust, "
        "or the server does not send those between its own and the authority's",
        "pass the authority's certificate as --ca FILE, or have the server send its whole chain",
    ),
    62: Reason(
        "the certificate is not for {host}{names}",
        "use one of its names in the URL, or have the server use a certificate for this one",
    ),
    66: Reason(
        "the certificate, or one that signed it, has a key or signature that is too weak by today's rules",
        "have it issued again with at least 2048 bits (RSA) or an elliptic curve, and SHA-256",
    ),
}
_ALIKE = {21: 20, 64: 62, 67: 66, 68: 66}
_UNVERIFIED = Reason("the certificate cannot be verified", "see what is said; --insecure tries without verification")


def of_certificate(error: ssl.SSLCertVerificationError, host: str, seen: Certificate | None, now: float) -> Reason:
    """Why a certificate is not trusted."""
    reason = _CERTIFICATES.get(_ALIKE.get(error.verify_code, error.verify_code), _UNVERIFIED)
    names, issuer, when = "", "", ""
    if seen is not None:
        names = f": it is for {', '.join(seen.names[:5])}" if seen.names else ""
        issuer = f" ({seen.issuer})" if seen.issuer else ""
        when = f" {-seen.days_left(now)} days ago" if seen.ends < now else ""
    return attrs.evolve(reason, cause=reason.cause.format(host=host, names=names, issuer=issuer, when=when))


def of_few_days(days: int) -> Reason:
    """What to do about a certificate that is about to expire."""
    return Reason(f"the certificate expires in {days} days", "renew it on the server, and have that done by itself")


def of_tls(error: OSError) -> Reason:
    """Why TLS did not come to be, certificates aside."""
    reason = str(getattr(error, "reason", "") or error).upper()
    if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason or "RECORD_LAYER_FAILURE" in reason:
        return Reason("what listens there does not speak TLS", "use http:// in the URL, or the port that has HTTPS")
    if "PROTOCOL" in reason or "DH_KEY" in reason or "HANDSHAKE_FAILURE" in reason or "NO_SHARED" in reason:
        return Reason(
            "the server has no TLS version or cipher that this machine takes: it is too old, or set up too narrowly",
            "have it offer TLS 1.2 or 1.3 with today's ciphers",
        )
    return Reason(
        "the server, or a firewall on the way, ends the connection when TLS begins",
        "check the port; a load balancer that knows its servers by name may not know this one",
    )


# Of negotiate

NO_ANSWER_BEHIND_REDIRECT = Reason(
    "the hub redirects to another server, and from that no answer comes",
    "see what is found about that one (marked with a 2): a firewall may let only the first through",
)


def of_negotiation(
    error: Exception, answer: HttpResponse | None, token: str | None, now: float, *, proxied: bool
) -> Reason:
    """Why negotiate failed.

    Args:
        error: what it raised.
        answer: the last answer that came.
        token: the user's.
        now: seconds since 1970.
        proxied: whether it went through a proxy that may have answered itself.
    """
    if isinstance(error, ClassicServerError):
        return Reason(
            "the server speaks classic ASP.NET SignalR, which is another protocol than ASP.NET Core SignalR",
            "move the server to ASP.NET Core SignalR, or use a client for the classic one",
        )
    status = error.status if isinstance(error, NegotiationError) else None
    if status is None and answer is not None:
        return Reason("the servers redirect in a circle, or without end", "see where they redirect to")
    if status is None or answer is None:
        return Reason(
            "the connection works, but no usable answer to the HTTP request came",
            "check that this port is that of the web server, and the server's log",
        )
    if status < 300:
        return _of_answer(error, answer)
    if status < 400:
        return _of_redirect(answer.header("Location") or "")
    return _of_status(status, token, now, proxied=proxied)


def _of_answer(error: Exception, answer: HttpResponse) -> Reason:
    if is_html(answer):
        return Reason(
            "a web page comes instead of a hub's answer: a login page, the page of a proxy, or a site that answers "
            "every path with its start page",
            "check the path of the URL; if a login stands before it, pass --token, or its cookie with --header",
        )
    if "the server refused" in str(error):
        return Reason("the hub's server refuses this client itself", "see what it says, and its log")
    return Reason("something else than a SignalR hub answers there", "check the host, the port and the path of the URL")


def is_html(answer: HttpResponse) -> bool:
    """Whether an answer is a web page."""
    return "html" in (answer.header("Content-Type") or "").lower() or answer.body.lstrip()[:1] == b"<"


def _of_redirect(location: str) -> Reason:
    place = urls.without_query(location).lower()
    if any(word in place for word in _LOGIN_WORDS):
        return Reason(
            "it redirects to a login page: the hub, or a gateway before it, wants to know who you are",
            "pass --token, or the login's cookie with --header 'Cookie: NAME=VALUE'",
        )
    return Reason("the hub has moved, or wants another scheme or host", "use the URL that it redirects to")


_NO_HUB = Reason(
    "there is no hub at this path",
    "compare the path with MapHub(...) on the server, and with the prefix that a reverse proxy adds",
)
_NO_UPSTREAM = Reason("a reverse proxy answers, but does not reach the hub behind it", "see whether the hub runs")
_STATUSES = {
    403: Reason(
        "{who} refuses, whoever asks or this user: a missing right, a rule of a firewall",
        "check what the user may do, and the rules of gateways and firewalls before the hub",
    ),
    404: _NO_HUB,
    405: _NO_HUB,
    407: of_tunnel(407),
    429: Reason("too many requests, or too many connections for the plan", "wait, then try again"),
    502: _NO_UPSTREAM,
    503: Reason("{who} is not available at the moment", "see whether the hub runs; try again"),
    504: _NO_UPSTREAM,
}
_FAILING = Reason("the application on the server fails", "see its log")
_REFUSING = Reason("{who} refuses the request", "see its log")


def _of_status(status: int, token: str | None, now: float, *, proxied: bool) -> Reason:
    if status == 401:
        return _of_unauthorized(token, now)
    reason = _STATUSES.get(status, _FAILING if status >= 500 else _REFUSING)
    who = "the proxy, or the server," if proxied else "the server"
    return attrs.evolve(reason, cause=reason.cause.format(who=who))


def _of_unauthorized(token: str | None, now: float) -> Reason:
    if token is None:
        return Reason("the hub wants a token, and none was given", "pass --token or --token-file, or set SIGNALR_TOKEN")
    times = token_times(token)
    if times.ends is not None and times.ends <= now:
        return Reason(f"the token expired {duration(now - times.ends)} ago", "get a new one")
    if times.begins is not None and times.begins > now:
        return Reason("the token is not valid yet", "check the clock of this machine")
    return Reason(
        "the token is not accepted: it is for another audience, from another issuer, or signed with another key",
        "compare its issuer and audience with what the server is set up for",
    )


# Of tokens


@attrs.frozen
class TokenTimes:
    """When a token is valid, in seconds since 1970; `None` where it does not say."""

    begins: float | None = None
    ends: float | None = None


def token_times(token: str) -> TokenTimes:
    """Return when a JWT is valid; nothing is verified."""
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        begins, ends = claims.get("nbf"), claims.get("exp")
    except (IndexError, ValueError, AttributeError, RecursionError):
        return TokenTimes()
    return TokenTimes(*(float(at) if isinstance(at, int | float) else None for at in (begins, ends)))


def duration(seconds: float) -> str:
    """Return a duration in words, roughly."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


# Of transports


def of_trial(error: Exception | None, transport: Transport, *, others_work: bool) -> Reason:
    """Why a transport, or a step over it, failed.

    Args:
        error: what was raised.
        transport: over which.
        others_work: whether another transport works.
    """
    refusal = next((each for each in getattr(error, "attempts", ()) if isinstance(each, TransportError)), None)
    if refusal is not None:
        return _of_refusal(refusal, transport, others_work=others_work)
    if isinstance(error, HandshakeError) and isinstance(error.__cause__, TimeoutError):
        return Reason(
            "what answers is no hub but another endpoint of SignalR (MapConnectionHandler), or something on the way "
            "buffers what the hub says",
            "compare the path with MapHub(...) on the server, and check the buffering of reverse proxies",
        )
    if isinstance(error, HandshakeError) and error.__cause__ is None:
        return Reason("the hub refuses the handshake, or what answers is no hub", "see the server's log")
    if isinstance(error, ConnectionClosedError | HandshakeError | NotConnectedError):
        return Reason(
            "the server ends the connection right after it was opened",
            "see the server's log: OnConnectedAsync, and what the hub demands of a user",
        )
    return Reason("the server, or something on the way, holds back what it should send", "see the server's log")


def _of_refusal(refusal: TransportError, transport: Transport, *, others_work: bool) -> Reason:
    if refusal.status == 401:
        return Reason(
            "the token is accepted by negotiate, but not here",
            "the server must take it from the Authorization header here, or from the query as access_token",
        )
    if refusal.status == 404:
        return Reason(
            "another server than the one that negotiated got the request: there are several, without sticky sessions",
            "turn on sticky sessions (session affinity) in the load balancer",
        )
    if others_work and transport == "WebSockets":
        return Reason(
            "something between here and the hub (reverse proxy, load balancer, firewall) lets no WebSocket through",
            "have it pass the headers Upgrade and Connection on (nginx), or turn WebSockets on (IIS, App Service); "
            "meanwhile clients fall back to another transport",
        )
    if others_work:
        return Reason(
            "something between here and the hub refuses this transport, or buffers what it carries",
            "check the rules and the buffering of reverse proxies; other transports work",
        )
    return Reason(
        "negotiate is let through, but none of the requests that follow: a proxy or firewall refuses them, "
        "or the hub refuses this user",
        "check the rules of proxies and gateways for GET requests and upgrades on the hub's path",
    )


# Who answers


def server_kind(asked: str, endpoint: Endpoint | None, error: Exception | None, answer: HttpResponse | None) -> str:
    """Name the kind of server.

    Args:
        asked: the hub's URL.
        endpoint: what negotiate found; `None` if it failed.
        error: why it failed.
        answer: its last answer.
    """
    if endpoint is not None:
        if not is_azure(endpoint.url):
            return "ASP.NET Core SignalR"
        direct = urls.same_origin(asked, endpoint.url) and is_azure(asked)
        return "Azure SignalR Service" + ("" if direct else ", behind an application server")
    if isinstance(error, ClassicServerError):
        return "classic ASP.NET SignalR"
    return "none that answers" if answer is None else _kind_by_answer(answer)


def _kind_by_answer(answer: HttpResponse) -> str:
    if 300 <= answer.status < 400:
        return "a web server that redirects"
    if is_html(answer):
        return "a web page, no hub"
    return "not known: it refuses first" if answer.status in (401, 403) else "a web server, but no hub there"


def is_azure(url: str) -> bool:
    """Whether a URL is one of Azure SignalR Service."""
    path, _mark, query = url.partition("?")
    _scheme, host, _port = urls.origin(url)
    is_client = path.rstrip("/").endswith("/client") and "hub=" in query.lower()
    return host.endswith(_AZURE_HOSTS) or is_client
