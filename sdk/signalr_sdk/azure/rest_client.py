"""Sends requests with a token to the REST API of Azure SignalR Service, and repeats a request where this is safe."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs
import tenacity

from .._core import headers as http_headers
from .._core import urls
from .._guard.foreign import forget_locals
from ..errors import AzureSignalRError, RemoteProtocolError
from ..interfaces import HttpClient, HttpRequest, HttpResponse
from . import names, rest_responses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..options import Timeouts

_logger = logging.getLogger("signalr_sdk.http")

_ATTEMPTS = 4
_LONGEST_WAIT = 30.0  # seconds; if the service asks to wait longer, the request is not repeated
_MAX_RESPONSE = 16 * 1024 * 1024

# Statuses of responses which mean that the service has not handled the request.
_REFUSED = frozenset({429, 503})
# Statuses of responses after which nobody knows whether the service has handled the request. A request that sends to
# clients is not repeated then: clients could get the event twice.
_UNCERTAIN = frozenset({408, *range(500, 600)})
# Errors of the HTTP client which mean that the request has not left this machine.
_NEVER_SENT = (socket.gaierror, ConnectionRefusedError)

_wait = tenacity.wait_random_exponential(multiplier=0.8, max=10.0)


class RequestTokens(Protocol):
    """A source of the bearer tokens for REST requests: an access key or Entra ID."""

    async def request_tokens(self, url: str) -> Sequence[str]:
        """Return one or more tokens for a request to a URL. If the service answers 401, the next token is tried."""


@attrs.define(eq=False)
class RestClient:
    """Sends requests to the REST API of Azure SignalR Service.

    Args:
        http: the HTTP client.
        base: URL of the service for REST requests, ending in `/`.
        tokens: the source of the requests' tokens.
        timeouts: `connect` and `request` limit the time of each request.
        api_version: version of the REST API.
        clock: returns the time in seconds since 1970.
    """

    _http: HttpClient
    _base: str
    _tokens: RequestTokens = attrs.field(kw_only=True)
    _timeouts: Timeouts = attrs.field(kw_only=True)
    _api_version: str = attrs.field(kw_only=True)
    _clock: Callable[[], float] = attrs.field(kw_only=True)
    _is_closed: bool = attrs.field(default=False, init=False)
    _sleep: Callable[[float], Awaitable[None]] = attrs.field(default=asyncio.sleep, init=False)

    def close(self) -> None:
        """Let all further requests raise `AzureSignalRError`. Does not close the HTTP client."""
        self._is_closed = True

    def request(
        self,
        method: str,
        path: str,
        *pairs: tuple[str, str | int | None],
        body: bytes = b"",
        content_type: str | None = None,
    ) -> HttpRequest:
        """Return a request to the REST API, without a token and not sent yet.

        Args:
            method: the HTTP method.
            path: the path after `/api/`, escaped.
            pairs: names and values of the query without `api-version`; pairs with the value `None` are left out.
            body: the body of the request.
            content_type: the Content-Type of the body.
        """
        headers = {"User-Agent": http_headers.USER_AGENT, "Accept": "application/json"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        query = names.query(("api-version", self._api_version), *pairs)
        return HttpRequest(
            method=method,
            url=f"{self._base}api/{path}?{query}",
            headers=headers,
            body=body,
            connect_timeout=self._timeouts.connect,
            timeout=self._timeouts.request,
            max_bytes=_MAX_RESPONSE,
        )

    async def ask(self, request: HttpRequest, *, sends: bool = False) -> HttpResponse:
        """Send a request with a token, and return a response with a 2xx status.

        After a temporary error the request is repeated, at most 3 times.

        Args:
            request: a request that the method `request` has made.
            sends: whether the request sends to clients. Such a request is repeated only if the service has surely not
                handled it: clients must not get an event twice.

        Raises:
            AzureSignalRError: the service refused or did not answer, or `close` was called.
        """
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=_delay,
            retry=tenacity.retry_if_exception(partial(may_be_repeated, sends=sends)),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            response: HttpResponse = await retrying(self.ask_once, request)
        except AzureSignalRError as error:
            # Drop the local variables in the error's traceback: they hold the token, and tools that report errors would
            # show it.
            forget_locals(error)
            raise
        return response

    async def ask_once(self, request: HttpRequest, *, anonymous: bool = False) -> HttpResponse:
        """Send a request, and return a response with a 2xx status. The request is not repeated after an error.

        Args:
            request: a request that the method `request` has made.
            anonymous: whether to send the request without a token.

        Raises:
            AzureSignalRError: the service refused or did not answer, or `close` was called.
        """
        tokens: Sequence[str | None] = (None,) if anonymous else await self._tokens.request_tokens(request.url)
        response = await self._exchange(request, tokens[0])
        for token in tokens[1:]:
            if response.status != 401:
                break
            response = await self._exchange(request, token)
        if 200 <= response.status < 300:
            return response
        raise rest_responses.refusal(request, response, self._clock())

    async def _exchange(self, request: HttpRequest, token: str | None) -> HttpResponse:
        if self._is_closed:
            # Raise an error here, before the closed HTTP client raises its own: `may_be_repeated` would take that error
            # for a temporary error of the network, and the request would be repeated in vain.
            raise AzureSignalRError("this AzureSignalR is closed")
        url = urls.without_query(request.url)
        if token is not None:
            request = attrs.evolve(request, headers={**request.headers, "Authorization": f"Bearer {token}"})
        try:
            response = await self._http.request(request)
        except (OSError, RemoteProtocolError) as error:
            reason = str(error) or type(error).__name__
            raise AzureSignalRError(f"cannot ask Azure SignalR Service: {reason}", url=url) from error
        _logger.debug("%s %s: status %d", request.method, url, response.status)
        return response


def may_be_repeated(error: BaseException, *, sends: bool) -> bool:
    """Return whether a failed request may be sent again.

    Args:
        error: the error of the request.
        sends: whether the request sends to clients. If the service may have handled such a request already, it must not
            be repeated: clients could get an event twice.
    """
    if not isinstance(error, AzureSignalRError) or (error.retry_after or 0.0) > _LONGEST_WAIT:
        return False
    if error.status is not None:
        return error.status in _REFUSED or (error.status in _UNCERTAIN and not sends)
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError):
        return False
    return isinstance(cause, _NEVER_SENT) or (isinstance(cause, OSError) and not sends)


def _delay(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, AzureSignalRError) else None
    return max(_wait(state), asked or 0.0)
