"""Runs a negotiation: sends the requests that a generator asks for, such as that of `_core.negotiation`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from .._core import urls
from .._core.negotiation import Endpoint, NegotiateRequest, negotiate
from .._core.redaction import redact_error
from .._guard.foreign import BoundExceeded, bounded
from ..errors import ConnectionFailedError, NegotiationError, RemoteProtocolError, SignalRError
from .request_sender import GRACE, RequestSender

if TYPE_CHECKING:
    from collections.abc import Generator

    from ..interfaces import HttpResponse

# The largest negotiate response. Real responses have a few kilobytes, and a wrong server must not fill the memory.
_MAX_ANSWER = 1024 * 1024


class _Result(Protocol):
    @property
    def access_token(self) -> str | None:
        """The token of the last redirect, for all later requests; `None` for none."""


E = TypeVar("E", bound=_Result)


async def run_negotiation(
    sender: RequestSender,
    url: str,
    *,
    redirects: int,
    timeout: float | None,
    stateful: bool = False,
    asked: list[str] | None = None,
) -> Endpoint:
    """Negotiate with ASP.NET Core SignalR, and follow the redirects.

    Args:
        sender: sends the requests.
        url: the URL of the hub.
        redirects: the most redirects that are followed.
        timeout: seconds for all requests together, including the calls of the token provider.
        stateful: whether to ask for stateful reconnect.
        asked: the URL of each request is appended to this list, without its query.

    Raises:
        NegotiationError: a server refused, did not answer, or gave an answer that cannot be used.
        ConnectionFailedError: the token provider failed.
    """
    steps = negotiate(url, limit=redirects, stateful=stateful, now=time.time())
    endpoint = await run_steps(sender, steps, url=url, timeout=timeout, asked=asked)
    if endpoint.connection_token != endpoint.connection_id:
        sender.secrets.add(endpoint.connection_token)
    sender.logs.negotiate.debug("negotiated: connect to %s", urls.without_query(endpoint.url))
    return endpoint


async def run_steps(
    sender: RequestSender,
    steps: Generator[NegotiateRequest, HttpResponse, E],
    *,
    url: str,
    timeout: float | None,
    asked: list[str] | None = None,
) -> E:
    """Send the requests of a negotiation. If a redirect gives a token, `sender` uses that token from then on.

    Args:
        sender: sends the requests.
        steps: yields the requests, gets the responses, and returns the result.
        url: the URL of the hub, for errors.
        timeout: seconds for all requests together, including the calls of the token provider.
        asked: the URL of each request is appended to this list, without its query.

    Raises:
        NegotiationError: a server refused, did not answer, or gave an answer that cannot be used.
        ConnectionFailedError: the token provider failed.
    """
    asked = [] if asked is None else asked
    close = sender.timeouts.close
    try:
        return await bounded(
            _run(sender, steps, timeout=timeout, asked=asked),
            None if timeout is None else timeout * GRACE,
            whose="the HTTP client",
            # Cancelled code gets a part of `Timeouts.close` to end: the token provider gets half of this time, the HTTP
            # client three quarters, the whole connection attempt all. So the warning about code that does not end names
            # the token provider or the HTTP client, and not only the attempt.
            patience=None if close is None else close * 0.75,
            log=sender.logs.http,
        )
    except BoundExceeded as error:
        text = f"the negotiation was not done within {timeout:g} s (Timeouts.request); requests sent: {len(asked)}"
        raise NegotiationError(text, url=asked[-1] if asked else urls.without_query(url)) from error
    except ConnectionFailedError as error:
        sender.secrets.hide_in(error)
        raise
    except SignalRError as error:
        # The user's HTTP client raised a `BaseException` such as SystemExit, or the program cancelled the task in which
        # `bounded` runs the HTTP client. `bounded` raises a plain SignalRError then, but users expect a
        # ConnectionFailedError.
        raise ConnectionFailedError(str(error)) from error


async def _run(
    sender: RequestSender,
    steps: Generator[NegotiateRequest, HttpResponse, E],
    *,
    timeout: float | None,
    asked: list[str],
) -> E:
    request = next(steps)
    while True:
        if request.access_token is not None:
            sender.token.use_from_redirect(request.access_token)
        asked.append(urls.without_query(request.url))
        answer = await _ask(sender, request, timeout)
        try:
            request = steps.send(answer)
        except StopIteration as done:
            endpoint: E = done.value
            if endpoint.access_token is not None:
                sender.token.use_from_redirect(endpoint.access_token)
            return endpoint


async def _ask(sender: RequestSender, request: NegotiateRequest, timeout: float | None) -> HttpResponse:
    url = request.url
    try:
        return await sender.request(request.method, url, timeout=timeout, max_bytes=_MAX_ANSWER)
    except ConnectionFailedError:
        raise
    except (OSError, RemoteProtocolError) as error:
        raise NegotiationError(f"cannot negotiate: {redact_error(error)}", url=urls.without_query(url)) from error
