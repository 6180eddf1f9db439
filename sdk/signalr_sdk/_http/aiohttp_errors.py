"""Translates aiohttp's errors: a failure of the network becomes an `OSError` that names the server and advises.

aiohttp's own errors must not reach users: they carry the request with its headers, the URL with its query, or the
proxy with its password. At most an error of the operating system is chained as the cause.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import aiohttp
import attrs
from aiohttp.http import HttpProcessingError

from .._core import urls
from .._core.headers import parse_retry_after
from .._core.redaction import redact
from ..errors import TransportError
from ..options import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..interfaces import HttpRequest

_Explained: TypeAlias = tuple[Exception, Exception | None]
"""The error to raise, and the error to chain to it as the cause."""

_CLIENT_CERTIFICATE = "if it wants a client certificate, call load_cert_chain() on a context and pass that as ssl="


class BrokenConnectionError(aiohttp.ClientConnectionError):
    """Replaces aiohttp's error for a broken connection, after which aiohttp would send the request a second time."""

    def __init__(self, error: Exception) -> None:
        super().__init__(*error.args)
        self.error = error


def peer(url: str) -> str:
    """Return the server of a URL as the text `host:port`, for texts of errors."""
    _scheme, host, port = urls.origin(url)
    return f"{host}:{port}"


@attrs.frozen
class RequestContext:
    """A request and its session, as the text of an error describes them if the request fails.

    Attributes:
        request: the request.
        connections: the most connections that aiohttp's session may have; 0 for no limit.
        untried: whether the server has not answered any request of this HTTP client yet.
    """

    request: HttpRequest
    connections: int = attrs.field(default=0, kw_only=True)
    untried: bool = attrs.field(default=False, kw_only=True)

    @property
    def where(self) -> str:
        """The server as the text `host:port`."""
        return peer(self.request.url)


@contextmanager
def translated(context: RequestContext) -> Iterator[None]:
    """Run a `with` block. An error of aiohttp becomes an `OSError` or `TransportError` without secrets."""
    try:
        yield
    except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
        failure, cause = _explain(error, context)
        try:
            raise failure from cause
        finally:
            # Remove the `__context__` of `failure`, which is aiohttp's error: `from` only hides this error in
            # tracebacks, and code that walks the chain of errors would still find the request with its token.
            failure.__context__ = None


def _explain(error: Exception, context: RequestContext) -> _Explained:
    if isinstance(error, BrokenConnectionError):
        error = error.error
    explain = next(explain for kind, explain in _EXPLANATIONS if isinstance(error, kind))
    return explain(error, context)


def _proxy_refusal(error: aiohttp.ClientHttpProxyError, context: RequestContext) -> _Explained:
    where = context.where
    if error.status == 407:
        message = (
            f"the proxy wants a user and password to connect to {where} (status 407): "
            "put them into the proxy's URL, as in http://user:password@proxy:3128"
        )
    else:
        message = f"the proxy refused to connect to {where} (status {error.status})"
    return ConnectionError(message), None


def _connect_failure(error: aiohttp.ClientConnectorError, context: RequestContext) -> _Explained:
    # In aiohttp 3.12 the error for a certificate has the attribute `certificate_error` instead of `os_error`.
    os_error: OSError = getattr(error, "certificate_error", None) or error.os_error
    where = f"{error.host}:{error.port}" if error.port else error.host
    reason = redact(os_error.strerror or str(os_error)) or "the other side closed the connection"
    failure: OSError
    if isinstance(os_error, ssl.SSLCertVerificationError):
        failure = _certificate_failure(os_error, where)
    elif isinstance(os_error, ssl.SSLError):
        failure = _tls_failure(os_error, where)
    elif isinstance(error, aiohttp.ClientProxyConnectionError):
        failure = ConnectionError(f"cannot connect to the proxy {where}: {reason}")
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        failure = socket.gaierror(os_error.errno or socket.EAI_NONAME, f"cannot find the address of {where}: {reason}")
    else:
        kind = type(os_error) if isinstance(os_error, ConnectionError | TimeoutError) else ConnectionError
        failure = kind(f"cannot connect to {where}: {reason}{_advice(context) if kind is ConnectionResetError else ''}")
        failure.errno = os_error.errno
    return failure, _harmless(os_error)


def _certificate_failure(error: ssl.SSLCertVerificationError, where: str) -> ssl.SSLError:
    failure = ssl.SSLCertVerificationError(
        error.errno or 1,
        f"the certificate of {where} is not trusted: {redact(error.verify_message)}; if it comes from a CA of your "
        "own, pass ssl=ssl.create_default_context(cafile=...)",
    )
    failure.verify_code, failure.verify_message = error.verify_code, error.verify_message
    return failure


def _tls_failure(error: ssl.SSLError, where: str) -> ssl.SSLError:
    reason = redact(error.strerror or str(error))
    advice = "check that it speaks TLS there"
    # The server has sent a TLS alert: most often the client has sent no certificate, or one that the server refuses.
    if "ALERT" in reason.upper():
        advice = _CLIENT_CERTIFICATE
    return ssl.SSLError(error.errno or 1, f"the TLS connection to {where} failed: {reason}; {advice}")


def _response_failure(error: aiohttp.ClientResponseError, context: RequestContext) -> _Explained:
    if isinstance(error.__cause__, HttpProcessingError):
        return _no_http(error, context)
    headers: Mapping[str, str] = error.headers or {}
    location = headers.get("Location")
    if error.status == 101:
        message = f"the server's upgrade to WebSocket is wrong: {redact(error.message)}"
    elif location:
        message = f"the server redirects to {redact(urls.without_query(location))} instead of opening a WebSocket"
    else:
        message = "the server did not open a WebSocket"
    refusal = TransportError(
        message,
        transport=Transport.WEBSOCKETS,
        url=urls.without_query(context.request.url),
        status=error.status,
        retry_after=parse_retry_after(headers.get("Retry-After"), time.time()),
    )
    return refusal, None


def _no_http(_error: Exception, context: RequestContext) -> _Explained:
    return ConnectionError(f"what {context.where} answered is not valid HTTP, or is cut short"), None


def _wrong_url(_error: Exception, context: RequestContext) -> _Explained:
    return ConnectionError(f"this URL cannot be used: {redact(urls.without_query(context.request.url))}"), None


def _connect_timeout(_error: TimeoutError, context: RequestContext) -> _Explained:
    message = f"cannot connect to {context.where}{_within(context.request.connect_timeout)}{_pool_advice(context)}"
    return TimeoutError(message), None


def _timeout(error: TimeoutError, context: RequestContext) -> _Explained:
    if error.errno is not None:
        return _loss(error, context)
    limit = context.request.timeout
    # The request may still have been waiting for a free connection of the session: if `timeout` equals
    # `connect_timeout`, `timeout` is over first, because aiohttp rounds `connect_timeout` up. So the text must name a
    # session without a free connection as a possible reason.
    advice = _pool_advice(context) if limit == context.request.connect_timeout else ""
    return TimeoutError(f"no answer from {context.where}{_within(limit)}{advice}"), None


def _within(limit: float | None) -> str:
    return f" within {limit:g} s" if limit else " in time"


def _pool_advice(context: RequestContext) -> str:
    if not context.connections:
        return ""
    return (
        f"; if the shared session has all of its {context.connections} connections in use, make it with "
        "aiohttp.TCPConnector(limit=0)"
    )


def _refused_by_aiohttp(error: ValueError, context: RequestContext) -> _Explained:
    return ConnectionError(f"aiohttp refuses to send the request to {context.where}: {redact(str(error))}"), None


def _loss(error: Exception, context: RequestContext) -> _Explained:
    where = context.where
    plain = error.__cause__ if isinstance(error, aiohttp.ClientError) else error
    if isinstance(plain, ssl.SSLError):
        return _tls_failure(plain, where), _harmless(plain)
    message = f"the connection to {where} was lost before its answer had come{_advice(context)}"
    return ConnectionResetError(message), _harmless(plain)


def _advice(context: RequestContext) -> str:
    # If the server has never answered over TLS, advise to check the client's certificate: many servers close the
    # connection without a TLS alert if the client has sent no certificate.
    tls = context.untried and context.request.url.startswith("https:")
    return f"; {_CLIENT_CERTIFICATE}" if tls else ""


def _harmless(error: BaseException | None) -> Exception | None:
    """Return an error of the operating system; for any other error `None`, since it may hold the request's headers."""
    if not isinstance(error, OSError) or isinstance(error, aiohttp.ClientError):
        return None
    error.__cause__ = error.__context__ = None
    return error


# The first class in this table that fits an error counts. The order matters: many errors of aiohttp belong to several
# of the classes.
_EXPLANATIONS: tuple[tuple[type[Exception], Callable[[Any, RequestContext], _Explained]], ...] = (
    (aiohttp.ClientHttpProxyError, _proxy_refusal),
    (aiohttp.ClientConnectorError, _connect_failure),
    (aiohttp.ClientResponseError, _response_failure),
    (aiohttp.ConnectionTimeoutError, _connect_timeout),
    (TimeoutError, _timeout),
    (aiohttp.InvalidURL, _wrong_url),
    (aiohttp.NonHttpUrlClientError, _wrong_url),
    (HttpProcessingError, _no_http),
    (aiohttp.ClientPayloadError, _no_http),
    (aiohttp.ClientError, _loss),
    (OSError, _loss),  # before ValueError: ssl.SSLCertVerificationError is both
    (ValueError, _refused_by_aiohttp),
)
