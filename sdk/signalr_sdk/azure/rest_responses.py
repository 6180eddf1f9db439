"""Reads responses of the REST API: turns a refusal into an error with advice, and reads JSON bodies. No I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .._core import urls
from .._core.headers import parse_retry_after
from .._core.redaction import redact
from ..errors import AzureSignalRError

if TYPE_CHECKING:
    from ..interfaces import HttpRequest, HttpResponse

_CODE_HEADER = "x-ms-error-code"

_ADVICE = {
    400: "the service does not accept the request",
    401: (
        "the service does not accept the token: check the AccessKey and this machine's clock; with Entra ID the role, "
        "which takes up to 30 minutes to be in effect"
    ),
    403: "access is denied: access keys may be switched off (Entra ID then), a role or a network rule missing",
    404: "not found: check the Endpoint, or that what is addressed exists",
    413: "the message is too large: 1 MB is the limit",
    414: "the names in the request are too long",
    429: "the service gets too many requests, or a quota is used up",
    503: "the service is not available at the moment",
}


def refusal(request: HttpRequest, response: HttpResponse, now: float) -> AzureSignalRError:
    """Return the error for a response with a status other than 2xx.

    Args:
        request: the request that was refused.
        response: the response to this request.
        now: the current time in seconds since 1970. Used to turn a date in the header `Retry-After` into seconds.
    """
    code, said = _described(response)
    status = response.status
    message = _ADVICE.get(status, "the service failed" if status >= 500 else "the service refused")
    details = [part for part in (code, said) if part]
    return AzureSignalRError(
        f"{message}; it says: {': '.join(details)}" if details else message,
        status,
        code=code,
        url=urls.without_query(request.url),
        retry_after=parse_retry_after(response.header("Retry-After"), now),
    )


def is_missing(error: AzureSignalRError, *codes: str) -> bool:
    """Return whether an error means that a connection, user or group does not exist.

    Args:
        error: an error that `refusal` has made.
        codes: the error codes with this meaning. A status 404 without an error code has this meaning too: the
            service's emulator sends no codes.
    """
    return error.status == 404 and (error.code is None or error.code in codes)


def members(request: HttpRequest, response: HttpResponse) -> dict[str, Any]:
    """Return the JSON object in the body of a response.

    Raises:
        AzureSignalRError: the body is not a JSON object.
    """
    found = _json(response.body)
    if isinstance(found, dict):
        return found
    raise unexpected(request, response, "the answer is not a JSON object: is this the service?")


def text(request: HttpRequest, response: HttpResponse, name: str) -> str:
    """Return the text in a member of the JSON object that is the body of a response.

    Args:
        request: the request.
        response: the response to this request.
        name: the name of the member.

    Raises:
        AzureSignalRError: the body is not a JSON object, or the member is missing, empty, or no text.
    """
    value = members(request, response).get(name)
    if isinstance(value, str) and value:
        return value
    raise unexpected(request, response, f"the answer has no {name}")


def unexpected(request: HttpRequest, response: HttpResponse, message: str) -> AzureSignalRError:
    """Return the error for a response with a 2xx status whose body is not as the REST API describes it."""
    return AzureSignalRError(message, response.status, url=urls.without_query(request.url))


def _described(response: HttpResponse) -> tuple[str | None, str]:
    """Return a tuple of error code and error text of a response with a status other than 2xx.

    The code is `None`, and the text is empty, if the response has none.
    """
    found = _json(response.body)
    detail = found.get("error", found) if isinstance(found, dict) else None
    if not isinstance(detail, dict):
        detail = {"message": detail if isinstance(detail, str) else _plain_text(response)}
    code = response.header(_CODE_HEADER) or detail.get("code")
    said = detail.get("message")
    return redact(code, 100) if isinstance(code, str) else None, redact(said) if isinstance(said, str) else ""


def _plain_text(response: HttpResponse) -> str:
    """Return the beginning of a body that is not JSON, for an error text. Empty for a web page (HTML)."""
    start = response.body[:1000].lstrip().decode("utf-8", "replace")
    return "" if start.startswith("<") else start


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
