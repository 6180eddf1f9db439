"""Turns errors of a classic ASP.NET SignalR server into advice for users. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import HandshakeError, Transport, TransportError
from . import hub_advice
from .findings import Advice

if TYPE_CHECKING:
    from ..step_runner import StepResult

RECONNECT = "reconnect"
"""The step that takes up the same connection over a second transport."""

OLD_PROTOCOL = Advice(
    "the server is older than ASP.NET SignalR 2 (protocols of 1.4 to 2.1 are supported)",
    "update the server's package Microsoft.AspNet.SignalR to 2.x",
)
NO_WEB_SOCKETS = Advice(
    "the server has no WebSockets (TryWebSockets is false): IIS lacks the feature, or is older than version 8",
    "install the feature WebSocket Protocol of IIS on Windows Server 2012 or later; meanwhile clients use another "
    "transport",
)
NOTHING_IN_COMMON = Advice(
    "a classic server has JSON only, and this one may have no WebSockets", "leave out --protocol and --transport"
)
UNLISTED = Advice(
    "the server makes no script that lists its hubs (EnableJavaScriptProxies is false), or does not give it out",
    "name the hubs to examine: --hub Chat",
)
STREAM_HELD = Advice(
    "a proxy on the way buffers what the server sends, so keep-alive messages and events come late or never",
    "switch off the buffering of responses on the way (nginx: proxy_buffering off), or use --transport lp",
)
_HUBS = {
    401: Advice(
        "the hub wants a user ([Authorize]): beside other hubs, its calls fail and its events do not come",
        "pass --token, or the login's cookie with --header 'Cookie: NAME=VALUE'",
    ),
    403: Advice(
        "the hub refuses this user ([Authorize]): beside other hubs, its calls fail and its events do not come",
        "check what the user may do, and the token",
    ),
    500: Advice(
        "the server knows no hub of this name, or fails to make the hub",
        "compare the name with the class or its [HubName] on the server; signalr hubs URL lists them",
    ),
}
_HUB_REFUSED = Advice("the server refuses the hub", "see the server's log")
_OTHER_NODE = Advice(
    "the server does not know the connection token: several servers stand behind one address, and the request went to "
    "another one, or their machine keys differ",
    "turn on sticky sessions in the load balancer, let its cookies through, and give all servers the same machineKey",
)
_NOT_STARTED = Advice(
    "the server fails at /start, where it runs OnConnected of the hubs",
    "see the server's log for errors of OnConnected",
)
_NOT_RESUMED = Advice(
    "the same connection cannot be taken up again: after each loss, groups and messages are gone",
    "let requests to /reconnect through, and to the same server: sticky sessions, or one machineKey on all servers",
)


def for_hub(status: int | None) -> Advice:
    """Return advice for a hub that the server refuses in negotiate with an HTTP status."""
    return _HUBS.get(status or 0, _HUB_REFUSED)


def for_step(result: StepResult, *, others_work: bool) -> Advice:
    """Return advice for a step over a transport that failed.

    Args:
        result: the step, with the exception that ended it.
        others_work: whether the server can be reached over another transport.
    """
    error, transport = result.error, result.combination.transport
    if result.step.name == RECONNECT:
        return _NOT_RESUMED
    refusal = next((each for each in getattr(error, "attempts", ()) if isinstance(each, TransportError)), None)
    if refusal is None and isinstance(error, HandshakeError):
        return _NOT_STARTED
    # With status 400, a server or proxy without WebSockets refuses them too.
    if refusal is not None and refusal.status == 400 and not (others_work and transport is Transport.WEBSOCKETS):
        return _OTHER_NODE
    return hub_advice.for_step(error, transport, others_work=others_work)
