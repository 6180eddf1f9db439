"""Turns errors of negotiate, transports and steps into advice for users. No I/O, and the time is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ... import (
    ConnectionClosedError,
    HandshakeError,
    NegotiationError,
    NotConnectedError,
    Transport,
    TransportError,
)
from ..._core import urls
from .findings import Advice
from .network_advice import CLIENT_CERTIFICATE, for_tunnel
from .server_kind import is_html
from .token_lifetime import TokenTimes, rough_duration, token_times

if TYPE_CHECKING:
    from ...interfaces import HttpResponse
    from .token_lifetime import GivenToken

_LOGIN_WORDS = ("login", "signin", "sign-in", "logon", "account", "oauth", "authorize", "saml", "sso")

NO_ANSWER_BEHIND_REDIRECT = Advice(
    "the hub redirects to another server, and from that no answer comes",
    "see the checks of that server (marked with a 2): a firewall may allow only the first server",
)
NOTHING_IN_COMMON = Advice(
    "the server offers no transport and format that the options allow and that this client knows",
    "leave out --transport and --protocol, or enable more on the server (HttpConnectionDispatcherOptions.Transports)",
)
LOST_WHILE_IDLE = Advice(
    "something on the way closes idle connections, or the hub has closed this one",
    "raise the idle timeout of proxies and load balancers above the server's KeepAliveInterval; see the server's log",
)
NO_PING = Advice(
    "the server's KeepAliveInterval (15 s unless changed) is longer, or something on the way holds the pings back",
    "clients give up after 30 s of silence: keep the server's interval under half of that",
)
WITHOUT_PROTOCOL = {
    "json": Advice(
        "the hub's server does not speak JSON", "call AddJsonProtocol() there, or use --protocol messagepack"
    ),
    "messagepack": Advice(
        "the hub's server does not speak MessagePack, which ASP.NET Core does only on request",
        "call AddMessagePackProtocol() on the server, or use --protocol json",
    ),
}

# Advice about errors of negotiate


def for_negotiation(
    error: Exception, answer: HttpResponse | None, token: GivenToken | None, *, now: float, proxied: bool
) -> Advice:
    """Return advice for a negotiation that failed.

    Args:
        error: the error of the negotiation.
        answer: the last HTTP response, if there was one.
        token: the user's bearer token; `None` without one.
        now: the current time, in seconds since 1970.
        proxied: whether the requests went through a proxy, which may have answered in place of the server.
    """
    status = error.status if isinstance(error, NegotiationError) else None
    if status is None or answer is None:
        return _for_no_answer(error, answer)
    if status < 300:
        return _for_unusable(error, answer)
    if status < 400:
        return _for_redirect(answer.header("Location") or "")
    if status == 404 and urls.path_of(getattr(error, "url", None) or "") == "/negotiate":
        return _NO_PATH
    return _for_status(status, token, now, proxied=proxied)


def _for_no_answer(error: Exception, answer: HttpResponse | None) -> Advice:
    if answer is not None:
        return Advice("the servers redirect in a circle, or without end", "see where the servers redirect to")
    if "client certificate" in str(error):
        return CLIENT_CERTIFICATE
    return Advice(
        "the connection works, but no usable answer to the HTTP request came",
        "check that this is the port of the web server, and see the server's log",
    )


def _for_unusable(error: Exception, answer: HttpResponse) -> Advice:
    if is_html(answer):
        return Advice(
            "a web page comes instead of a hub's answer: a login page, the page of a proxy, or a site that answers "
            "every path with its start page",
            "check the path of the URL; if the hub needs a login, pass --token, or the login's cookie with --header",
        )
    if "redirects from https to http" in str(error):
        return Advice(
            "the server redirects to its address without https: behind a proxy, it takes its own address for http",
            "make the proxy send X-Forwarded-Proto, and the server use it (UseForwardedHeaders in ASP.NET Core)",
        )
    if "the server refused" in str(error):
        return Advice("the hub's server refuses this client itself", "see the server's error text, and its log")
    return Advice("something else than a SignalR hub answers there", "check the host, the port and the path of the URL")


def _for_redirect(location: str) -> Advice:
    place = urls.without_query(location).lower()
    if any(word in place for word in _LOGIN_WORDS):
        return Advice(
            "the hub, or a gateway before it, redirects to a login page: a user must log in",
            "pass --token, or the login's cookie with --header 'Cookie: NAME=VALUE'",
        )
    return Advice("the hub has moved, or wants another scheme or host", "use the URL of the redirect")


_NO_HUB = Advice(
    "there is no hub at this path",
    "compare the path with MapHub(...) on the server, and with the prefix that a reverse proxy adds",
)
_NO_PATH = Advice(
    "there is no hub at the root of the server",
    "add the hub's path to the URL: that of MapHub(...) on the server, or /signalr, which most classic servers have",
)
_NO_UPSTREAM = Advice("a reverse proxy answers, but does not reach the hub behind it", "see whether the hub runs")
_STATUSES = {
    403: Advice(
        "{who} refuses this user, or everybody: a missing right, or a rule of a firewall",
        "check what the user may do, and the rules of gateways and firewalls before the hub",
    ),
    404: _NO_HUB,
    405: _NO_HUB,
    407: for_tunnel(407),
    429: Advice("too many requests, or too many connections for the plan", "wait, then try again"),
    502: _NO_UPSTREAM,
    503: Advice("{who} is not available at the moment", "see whether the hub runs; try again"),
    504: _NO_UPSTREAM,
}
_FAILING = Advice("the application on the server fails", "see the server's log")
_REFUSING = Advice("{who} refuses the request", "see the server's log")


def _for_status(status: int, token: GivenToken | None, now: float, *, proxied: bool) -> Advice:
    if status == 401:
        return _for_unauthorized(token, now)
    advice = _STATUSES.get(status, _FAILING if status >= 500 else _REFUSING)
    who = "the proxy, or the server," if proxied else "the server"
    return attrs.evolve(advice, cause=advice.cause.format(who=who))


def _for_unauthorized(token: GivenToken | None, now: float) -> Advice:
    if token is None:
        return Advice("the hub wants a token, and none was given", "pass --token or --token-file, or set SIGNALR_TOKEN")
    name = f"the token of {token.source}"
    times = token_times(token.text) if token.text is not None else TokenTimes()
    if times is None:
        return Advice(
            f"{name} is not accepted; it is no JWT, so that nothing can be read from it",
            "check that it is complete and the kind the server wants, or ask who issued it",
        )
    if times.ends is not None and times.ends <= now:
        return Advice(f"{name} expired {rough_duration(now - times.ends)} ago", "get a new one")
    if times.begins is not None and times.begins > now:
        return Advice(f"{name} is not valid yet", "check the clock of this machine")
    return Advice(
        f"{name} is not accepted: it is for another audience, from another issuer, or signed with another key",
        "compare the token's issuer and audience with the settings of the server",
    )


# Advice about a failed step over a connection (connect, round trip, stop), and about errors of the transport


def for_step(error: Exception | None, transport: Transport, *, others_work: bool) -> Advice:
    """Return advice for a step over a connection (connect, round trip or stop) that failed.

    Args:
        error: the exception that ended the step.
        transport: the transport over which the step ran.
        others_work: whether the hub can be reached over another transport.
    """
    refusal = next((each for each in getattr(error, "attempts", ()) if isinstance(each, TransportError)), None)
    if refusal is not None:
        return _for_refused_transport(refusal, transport, others_work=others_work)
    if isinstance(error, HandshakeError) and isinstance(error.__cause__, TimeoutError):
        return Advice(
            "what answers is no hub but another endpoint of SignalR (MapConnectionHandler), or something on the way "
            "buffers what the hub says",
            "compare the path with MapHub(...) on the server, and check the buffering of reverse proxies",
        )
    if isinstance(error, HandshakeError) and error.__cause__ is None:
        return Advice("the hub refuses the handshake, or what answers is no hub", "see the server's log")
    if isinstance(error, ConnectionClosedError | HandshakeError | NotConnectedError):
        return Advice(
            "the server ends the connection right after it was opened",
            "see the server's log: OnConnectedAsync, and the rights that the hub wants of a user",
        )
    return Advice("the server, or something on the way, holds back messages", "see the server's log")


def _for_refused_transport(refusal: TransportError, transport: Transport, *, others_work: bool) -> Advice:
    if refusal.status == 401:
        return Advice(
            "the token is accepted by negotiate, but not here",
            "make the server read the token from the Authorization header here too, or from access_token in the query",
        )
    if refusal.status == 404:
        return Advice(
            "another server than the one that negotiated got the request: there are several, without sticky sessions",
            "turn on sticky sessions (session affinity) in the load balancer",
        )
    if others_work and transport == "WebSockets":
        return Advice(
            "something between here and the hub (reverse proxy, load balancer, firewall) lets no WebSocket through",
            "make it pass on the headers Upgrade and Connection (nginx), or turn on WebSockets (IIS, App Service); "
            "meanwhile clients use another transport",
        )
    if others_work:
        return Advice(
            "something between here and the hub refuses this transport, or buffers its data",
            "check the rules and the buffering of reverse proxies; other transports work",
        )
    return Advice(
        "negotiate is let through, but none of the requests that follow: a proxy or firewall refuses them, "
        "or the hub refuses this user",
        "check the rules of proxies and gateways for GET requests and upgrades on the hub's path",
    )
