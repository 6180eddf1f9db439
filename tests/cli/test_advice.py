"""From errors to advice: no network."""

from __future__ import annotations

import base64
import errno
import json
import ssl
from typing import Any

import pytest

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionFailedError,
    HandshakeError,
    NegotiationError,
    NotConnectedError,
    Transport,
    TransportError,
)
from signalr_sdk._core.negotiation import Endpoint
from signalr_sdk.cli.doctor import hub_advice, network_advice
from signalr_sdk.cli.doctor.network_advice import Certificate
from signalr_sdk.cli.doctor.server_kind import server_kind
from signalr_sdk.cli.doctor.token_lifetime import GivenToken, lifetime_remark, rough_duration
from signalr_sdk.interfaces import HttpResponse

NOW = 1_800_000_000.0
DAY = 86400.0


def jwt(**claims: Any) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.c2ln"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "nothing listens on port 5000"),
        (TimeoutError("no answer"), "a firewall drops"),
        (OSError(errno.ENETUNREACH, "x"), "no route"),
        (OSError(errno.EHOSTUNREACH, "x"), "no route"),
        (ConnectionResetError(errno.ECONNRESET, "x"), "the network refuses"),
    ],
)
def test_no_tcp(error: OSError, said: str) -> None:
    assert said in network_advice.for_tcp(error, 5000, is_proxy=False).cause
    assert "the proxy cannot be reached" in network_advice.for_tcp(error, 5000, is_proxy=True).cause


@pytest.mark.parametrize(
    ("status", "said"), [(407, "a user and password"), (403, "does not let connections"), (None, "no HTTP proxy")]
)
def test_no_tunnel(status: int | None, said: str) -> None:
    assert said in network_advice.for_tunnel(status).cause


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (9, "not valid yet"),
        (10, "has expired 1 days ago"),
        (18, "signed by itself"),
        (19, "an authority (Acme) of its own"),
        (20, "an authority (Acme) that this machine does not trust"),
        (21, "does not send those between"),
        (62, "not for b.example: it is for a.example"),
        (64, "not for b.example"),
        (66, "too weak"),
        (68, "too weak"),
        (1, "cannot be verified"),
    ],
)
def test_no_trust(code: int, said: str) -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code = code
    seen = Certificate(("a.example",), "Acme", ends=NOW - 1.5 * DAY)
    assert said in network_advice.for_certificate(error, "b.example", seen, NOW).cause
    unseen = network_advice.for_certificate(error, "b.example", None, NOW).cause
    assert "{" not in unseen
    assert "Acme" not in unseen


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("WRONG_VERSION_NUMBER", "does not speak TLS"),
        ("UNSUPPORTED_PROTOCOL", "no TLS version or cipher"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "no TLS version or cipher"),
        ("", "ends the connection when TLS begins"),
    ],
)
def test_no_tls(reason: str, said: str) -> None:
    error = ssl.SSLError(1, "x")
    error.reason = reason
    assert said in network_advice.for_tls(error).cause


def refused(
    status: int, body: bytes = b"", token: GivenToken | None = None, path: str = "/hub/negotiate", **headers: str
) -> str:
    """Return the cause of a refusal."""
    answer = HttpResponse(status, tuple((name.replace("_", "-"), value) for name, value in headers.items()), body)
    error = NegotiationError("no", url=f"http://example.com{path}", status=status)
    reason = hub_advice.for_negotiation(error, answer, token, now=NOW, proxied=True)
    assert "{" not in reason.cause
    return reason.cause


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "the proxy, or the server, refuses the request"),
        (403, "a missing right"),
        (404, "no hub at this path"),
        (405, "no hub at this path"),
        (407, "the proxy wants a user and password"),
        (429, "too many"),
        (500, "the application on the server fails"),
        (502, "a reverse proxy answers"),
        (503, "not available"),
        (504, "does not reach the hub"),
    ],
)
def test_a_status_has_its_cause(status: int, said: str) -> None:
    assert said in refused(status)


def test_a_url_without_a_path_has_a_cause_of_its_own() -> None:
    assert "no hub at the root of the server" in refused(404, path="/negotiate")


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("opaque", "the token of X is not accepted; it is no JWT"),
        ("a.b.c", "the token of X is not accepted; it is no JWT"),
        ("a.W10.c", "the token of X is not accepted; it is no JWT"),
        ("e30.W10", "the token of X is not accepted; it is no JWT"),
        (jwt(exp=NOW + 60), "the token of X is not accepted: it is for another audience"),
        (jwt(exp="soon"), "the token of X is not accepted: it is for another audience"),
        ("e30.encrypted.a.b.c", "the token of X is not accepted: it is for another audience"),
        (None, "the token of X is not accepted: it is for another audience"),
        (jwt(exp=NOW - 7200), "the token of X expired 2 h ago"),
        (jwt(exp=NOW + 900, nbf=NOW + 60), "the token of X is not valid yet"),
    ],
)
def test_a_401_depends_on_the_token(token: str | None, said: str) -> None:
    assert refused(401, token=GivenToken(token, "X")).startswith(said)


def test_a_401_without_a_token() -> None:
    assert refused(401) == "the hub wants a token, and none was given"


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("opaque", "; it is no JWT, so that its lifetime is unknown"),
        (jwt(), ""),
        (jwt(exp=10**400), ""),
        (jwt(exp=float("nan")), ""),
        (jwt(exp=NOW + 1200), "; valid for 20 min"),
        (jwt(exp=NOW - 7200), "; expired 2 h ago"),
    ],
)
def test_the_lifetime_of_a_token_is_told(token: str, said: str) -> None:
    assert lifetime_remark(token, NOW) == said


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://example.com/Account/Login?ReturnUrl=x", "a login page"),
        ("https://login.example.com/oauth2/authorize", "a login page"),
        ("https://example.com/hub/negotiate", "the hub has moved"),
        ("", "the hub has moved"),
    ],
)
def test_a_redirect_depends_on_where_to(location: str, said: str) -> None:
    assert said in refused(302, Location=location)


def test_answers_that_are_none() -> None:
    assert "a web page" in refused(200, b" <html>", Content_Type="text/plain")
    assert "a web page" in refused(200, b"", Content_Type="text/html; charset=utf-8")
    assert "something else than a SignalR hub" in refused(200, b"{}")
    error = NegotiationError("the server refused: not you", url="http://example.com", status=200)
    refusal = hub_advice.for_negotiation(error, HttpResponse(200), None, now=NOW, proxied=False)
    assert "refuses this client itself" in refusal.cause
    nothing = hub_advice.for_negotiation(NegotiationError("no", url="http://x"), None, None, now=NOW, proxied=False)
    assert "no usable answer" in nothing.cause


def test_a_redirect_without_end() -> None:
    error = NegotiationError("redirected more than 100 times", url="http://x")
    assert "in a circle" in hub_advice.for_negotiation(error, HttpResponse(200), None, now=NOW, proxied=False).cause


def failed(status: int | None, transport: Transport = Transport.WEBSOCKETS) -> ConnectionFailedError:
    return ConnectionFailedError("no", (TransportError("no", transport=transport, url="http://x", status=status),))


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "others_work", "said"),
    [
        (failed(403), True, "lets no WebSocket through"),
        (failed(403), False, "negotiate is let through, but none"),
        (failed(401), True, "the token is accepted by negotiate, but not here"),
        (failed(404), False, "without sticky sessions"),
        (HandshakeError("no"), False, "refuses the handshake"),
        (caused(HandshakeError("late"), TimeoutError()), False, "no hub but another endpoint"),
        (caused(HandshakeError("gone"), ConnectionClosedError("x")), False, "right after it was opened"),
        (ConnectionClosedError("x"), False, "right after it was opened"),
        (NotConnectedError("x"), False, "right after it was opened"),
        (TimeoutError(), False, "holds back"),
    ],
)
def test_a_transport_that_fails(error: Exception, others_work: bool, said: str) -> None:
    assert said in hub_advice.for_step(error, Transport.WEBSOCKETS, others_work=others_work).cause


def test_another_transport_that_fails() -> None:
    transport = Transport.SERVER_SENT_EVENTS
    assert (
        "this transport, or buffers" in hub_advice.for_step(failed(403, transport), transport, others_work=True).cause
    )


@pytest.mark.parametrize(
    ("asked", "url", "kind"),
    [
        ("https://a.example/hub", "https://a.example/hub", "ASP.NET Core SignalR"),
        (
            "https://a.example/hub",
            "https://x.service.signalr.net/client/?hub=chat",
            "Azure SignalR Service, behind an application server",
        ),
        (
            "https://x.service.signalr.net/client/?hub=chat",
            "https://x.service.signalr.net/client/?hub=chat",
            "Azure SignalR Service",
        ),
        ("http://a.example/client", "http://a.example/client", "ASP.NET Core SignalR"),
    ],
)
def test_the_kind_of_a_server_that_negotiates(asked: str, url: str, kind: str) -> None:
    assert server_kind(asked, Endpoint(url, "a", "b", ()), None) == kind


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (None, "none that answers"),
        (HttpResponse(302), "a web server that redirects"),
        (HttpResponse(200, (), b"<html>"), "a web page, no hub"),
        (HttpResponse(403), "not known: it refuses first"),
        (HttpResponse(404), "a web server, but no hub there"),
    ],
)
def test_the_kind_of_a_server_that_does_not(answer: HttpResponse | None, kind: str) -> None:
    assert server_kind("http://x/hub", None, answer) == kind


@pytest.mark.parametrize(("seconds", "text"), [(1, "1 s"), (130, "2 min"), (7300, "2 h"), (3 * DAY, "3 days")])
def test_durations_are_rough(seconds: float, text: str) -> None:
    assert rough_duration(seconds) == text
