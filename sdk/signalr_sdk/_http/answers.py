"""Reads the body of a response, for every HTTP client of this package: up to a size limit, never decompressed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.redaction import redact
from ..errors import RemoteProtocolError
from ..interfaces import HttpResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Ask servers not to compress responses: a proxy that compresses holds events back, and a small compressed body could
# become a huge one in memory.
NOT_COMPRESSED = {"Accept-Encoding": "identity"}


def check_encoding(answer: HttpResponse) -> None:
    """Make sure that the body of a successful response is not compressed.

    Raises:
        RemoteProtocolError: the body is compressed, although the request asked for `identity`.
    """
    encoding = _encoding(answer)
    if encoding and 200 <= answer.status < 300:
        raise RemoteProtocolError(
            f"the answer is compressed (Content-Encoding: {redact(encoding, 60)}) although none of that was asked for: "
            "let the server or proxy send it as it is"
        )


async def whole(answer: HttpResponse, chunks: AsyncIterator[bytes], limit: int | None) -> HttpResponse:
    """Read the body of a response, and return the response with the body: see `with_body`.

    Args:
        answer: the response, without a body.
        chunks: the bytes of the body, as they arrive.
        limit: the largest body, in bytes; `None` for no limit.

    Raises:
        RemoteProtocolError: the body is over the limit, or the body of a successful response is compressed.
    """
    _check_size(_announced(answer), limit)
    # Collect the body in one bytearray: a list of the chunks would take fifty times the size of the body if each chunk
    # has one byte.
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        _check_size(len(body), limit)
    return with_body(answer, bytes(body), limit)


def with_body(answer: HttpResponse, body: bytes, limit: int | None) -> HttpResponse:
    """Return a response with its body. If the status is not 2xx and the body is compressed, leave out the body.

    Raises:
        RemoteProtocolError: the body is over the limit, or the body of a successful response is compressed.
    """
    _check_size(len(body), limit)
    if not body:
        return answer
    check_encoding(answer)
    return answer if _encoding(answer) else HttpResponse(answer.status, answer.headers, body)


def _encoding(answer: HttpResponse) -> str:
    encoding = (answer.header("Content-Encoding") or "").strip()
    return "" if encoding.lower() == "identity" else encoding


def _announced(answer: HttpResponse) -> int:
    length = answer.header("Content-Length") or ""
    return int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else 0


def _check_size(size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise RemoteProtocolError(f"an HTTP answer has {size} bytes or more, over the limit of {limit} bytes")
