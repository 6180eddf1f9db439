"""The parsers by name: how an input is checked, what inputs look like, and the words of their format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import attrs

from . import answers, json_inputs, messagepack_inputs, sessions
from .mutation import mutate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    Check: TypeAlias = Callable[[bytes], None]

CORPUS = Path(__file__).parent / "corpus"

_JSON_WORDS = (
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b'"',
    b"\\",
    b"null",
    b"true",
    b"1e400",
    b"-1",
    b'"\\ud800"',
    b"\xff",
)
_ADVERSE = (b"\x00", b"\r", b"\t", b"\x1b[31m", b"\xc2\x9b", b"\xe2\x80\xae", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\xff")


@attrs.frozen
class Target:
    """A parser.

    Attributes:
        name: its name.
        check: handles an input; raises if something is broken.
        words: words of its format.
        make: makes an input from nothing, if that is done.
        seeds: the inputs to begin with.
    """

    name: str
    check: Check
    words: Sequence[bytes]
    make: Callable[[Random], bytes] | None = None

    @property
    def seeds(self) -> list[bytes]:
        """The inputs in the corpus, which lie in files of their own."""
        return [path.read_bytes() for path in sorted((CORPUS / self.name).iterdir())]

    def change(self, data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
        """Return another input, made from this one or from nothing."""
        if self.make is not None and random.random() < 0.6:
            data = self.make(random)
            if random.random() < 0.6:
                return data
        return mutate(data, random, self.words, others)


TARGETS = {
    target.name: target
    for target in (
        Target("json", sessions.check_json, json_inputs.WORDS, json_inputs.payload),
        Target("messagepack", sessions.check_messagepack, messagepack_inputs.WORDS, messagepack_inputs.payload),
        Target(
            "handshake",
            sessions.check_handshake,
            (
                *_JSON_WORDS,
                *(b"\x1e", b"{}\x1e", b'"error":', b'"protocol":', b'"version":', b'"type":', b"messagepack", b"json"),
                *json_inputs.WORDS[11:16],
                *messagepack_inputs.WORDS[:9],
            ),
        ),
        Target(
            "framing", sessions.check_framing, (b"\x1e", b"\x80", b"\xff", b"\x05", b"\x00", b"\x05abcde", b"\x1e\x1e")
        ),
        Target(
            "negotiation",
            answers.check_negotiation,
            (
                *_JSON_WORDS,
                *_ADVERSE,
                *(
                    b'"url":"https://other.example/hub?a=b"',
                    b'"accessToken":"abc"',
                    b'"error":"no"',
                    b'"negotiateVersion":1',
                ),
                *(
                    b'"connectionId":"id"',
                    b'"connectionToken":"token"',
                    b'"availableTransports":',
                    b'"transport":"WebSockets"',
                ),
                *(b'"transferFormats":["Text","Binary"]', b'"tokenLifetimeSeconds":60', b'"useStatefulReconnect":true'),
                *(
                    b'"ProtocolVersion":"2.1"',
                    b'"Url":"/signalr"',
                    b"\n\n",
                    b"\n",
                    b"<html>",
                    b"Location: ",
                    b"Retry-After: ",
                ),
                *(
                    b"Content-Type: text/plain",
                    b"Status: 302",
                    b"Status: 503",
                    b"[::1]",
                    b"@",
                    b"xn--",
                    b"%",
                    b"..",
                    b"\xef\xbb\xbf",
                ),
            ),
        ),
        Target(
            "refresh", answers.check_refresh, (*_JSON_WORDS, b'"tokenLifetimeSeconds":', b'"accessToken":', b'"error":')
        ),
        Target(
            "azure-answer",
            answers.check_azure_answer,
            (*_JSON_WORDS, *_ADVERSE, b'"code":', b'"message":', b'"error":', b"x-ms-error-code: ", b"\n\n", b"<html>"),
        ),
        Target(
            "events",
            answers.check_events,
            (
                b"data:",
                b"data: ",
                b"data",
                b"\n",
                b"\r",
                b"\r\n",
                b"\n\n",
                b":",
                b"event: x",
                b"id: 1",
                b"\xef\xbb\xbf",
                b"\x1e",
            ),
        ),
        Target(
            "cookies",
            answers.check_cookies,
            (
                *_ADVERSE,
                *(
                    b"a=b",
                    b"=",
                    b";",
                    b"; ",
                    b"\n",
                    b'"',
                    b",",
                    b"Path=/",
                    b"Path=/chat",
                    b"Secure",
                    b"HttpOnly",
                    b"Domain=x",
                ),
                *(
                    b"Max-Age=0",
                    b"Max-Age=-1",
                    b"Max-Age=9",
                    b"Expires=Thu, 01 Jan 1970 00:00:00 GMT",
                    b"Expires=",
                    b"https://",
                ),
            ),
        ),
        Target(
            "headers",
            answers.check_headers,
            (
                *_ADVERSE,
                *(
                    b"Thu, 01 Jan 1970 00:00:00 GMT",
                    b"Jan",
                    b"0",
                    b"1",
                    b"12",
                    b"99999999",
                    b"00:00:00",
                    b"23:59:60",
                    b"1970",
                ),
                *(
                    b"9999",
                    b"0000",
                    b",",
                    b" ",
                    b"-",
                    b".",
                    b":",
                    b"feb",
                    b"30",
                    b"31",
                    b"\xd9\xa3",
                    b"GMT",
                    b"69",
                    b"70",
                ),
            ),
        ),
        Target(
            "urls",
            answers.check_urls,
            (
                *_ADVERSE,
                *(
                    b"http://",
                    b"https://",
                    b"ws://",
                    b"wss://",
                    b"HTTP://",
                    b"//",
                    b"/",
                    b"?",
                    b"#",
                    b"@",
                    b":",
                    b":80",
                    b":443",
                ),
                *(
                    b":0",
                    b":65536",
                    b":",
                    b"[",
                    b"]",
                    b"[::1]",
                    b"[fe80::1%25eth0]",
                    b"127.0.0.1",
                    b"localhost",
                    b"xn--",
                    b".",
                ),
                *(
                    b"..",
                    b"/../",
                    b"%",
                    b"%2e",
                    b"%00",
                    b"%zz",
                    b"&",
                    b"=",
                    b"a=b",
                    b"id=x",
                    b"access_token=x",
                    b"+",
                    b" ",
                    b"\\",
                ),
                *(
                    b"\xc3\xa9",
                    b"\xc3\x9f",
                    b"\xe3\x80\x82",
                    b"\xef\xbc\x8f",
                    b"\xe2\x84\xaa",
                    b"user:password@",
                    b"negotiateVersion",
                ),
            ),
        ),
        Target(
            "redaction",
            answers.check_redaction,
            (
                *_ADVERSE,
                *(
                    b"Bearer ",
                    b"bearer",
                    b"access_token=",
                    b"eyJ",
                    b"eyJabc.def.ghi",
                    b".",
                    b"-",
                    b"_",
                    b"&",
                    b'"',
                    b" ",
                    b"\n",
                ),
                *(
                    b"<",
                    b"'",
                    b"=",
                    b"\xf3\xa0\x81\x81",
                    b"\xe2\x80\x8b",
                    b"\xcc\x81",
                    b"\xf0\x9f\x98\x80",
                    b"\xc2\xa0",
                    b"?",
                ),
            ),
        ),
        Target(
            "upstream",
            answers.check_upstream,
            (
                *_ADVERSE,
                *(b"X-ASRS-Category: messages\n", b"X-ASRS-Category: connections\n", b"X-ASRS-Event: connected\n"),
                *(
                    b"X-ASRS-Event: disconnected\n",
                    b"X-ASRS-Hub: chat\n",
                    b"X-ASRS-Connection-Id: a\n",
                    b"X-ASRS-User-Id: u\n",
                ),
                *(
                    b"X-ASRS-User-Claims: a: b, a: c,d",
                    b"X-ASRS-Client-Query: ?a=b",
                    b"X-ASRS-Signature: sha256=00,sha256=",
                ),
                *(
                    b"Content-Type: application/json",
                    b"Content-Type: application/x-msgpack",
                    b"\n\n",
                    b"\n",
                    b": ",
                    b",",
                ),
                *json_inputs.WORDS[11:16],
                *messagepack_inputs.WORDS[:9],
                b'{"error":"x"}',
                b"\x93\x0b\xa1a\xa1b",
            ),
        ),
        Target(
            "connection-string",
            answers.check_connection_string,
            (
                *_ADVERSE,
                *(
                    b"Endpoint=",
                    b"https://x.service.signalr.net",
                    b";",
                    b"=",
                    b"AccessKey=",
                    b"Version=1.0",
                    b"Port=",
                    b"443",
                ),
                *(
                    b"ClientEndpoint=",
                    b"ServerEndpoint=",
                    b"AuthType=",
                    b"azure",
                    b"azure.msi",
                    b"azure.app",
                    b"aad",
                    b"ClientId=x",
                ),
                *(
                    b"ClientSecret=x",
                    b"ClientCert=x",
                    b"TenantId=x",
                    b"?",
                    b"#",
                    b"@",
                    b"[::1]",
                    b"/",
                    b":",
                    b":8080",
                    b" ",
                ),
            ),
        ),
    )
}
