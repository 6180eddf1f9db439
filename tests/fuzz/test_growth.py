"""Inputs that once took time that grew with the square of their size, and long enough to reach the limit of a test."""

from __future__ import annotations

from contextlib import suppress

import pytest

from signalr_sdk._core import urls
from signalr_sdk._core.redaction import redact
from signalr_sdk.azure import ConnectionString, UpstreamEvent

LENGTH = 200_000
UPSTREAM = {
    "X-ASRS-Category": "connections",
    "X-ASRS-Event": "connected",
    "X-ASRS-Hub": "chat",
    "X-ASRS-Connection-Id": "a",
}


@pytest.mark.parametrize("host", ["[" + ":" * LENGTH + "x]", "\u00e9" * LENGTH, "\u00e9." * LENGTH, "1." * LENGTH])
def test_the_host_of_a_url(host: str) -> None:
    with pytest.raises(ValueError, match="no valid host"):
        urls.hub_url(f"http://{host}/")


@pytest.mark.parametrize("word", ["-eyJ", "eyJ.", "bearer ", "access_token=", "Bearer  eyJ-"])
def test_a_text_of_a_server(word: str) -> None:
    assert len(redact(word * LENGTH, LENGTH // 2)) <= LENGTH


@pytest.mark.parametrize("claims", ["a: b," * LENGTH, "a: b" + "," * LENGTH, "a: " * LENGTH])
def test_the_claims_of_an_upstream_request(claims: str) -> None:
    event = UpstreamEvent.parse({**UPSTREAM, "X-ASRS-User-Claims": claims}, b"")
    assert list(event.claims) == ["a"]


def test_a_connection_string() -> None:
    for version in ("1." + "1" * LENGTH + "!", "1." + "a" * LENGTH):
        with suppress(ValueError):
            ConnectionString.parse(f"Endpoint=https://a;AccessKey=b;Version={version}")
