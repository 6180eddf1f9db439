"""What the other side said, as errors show it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalr_sdk._core.redaction import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("  two\r\n\tlines \x00\x1b[31mred", "two lines [31mred"),
        ("\u202eevil\ud800", "evil"),
        ("GET /hub?access_token=abc&x=1", "GET /hub?access_token=***&x=1"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("it got Bearer Bearer abc", "it got Bearer Bearer ***"),
        ("pass access_token=, or check it", "pass access_token=, or check it"),
        ("-eyJhbGciOi.eyJzdWIi", "-***"),
        ("heyJude.mp3 and eyJ and eyJx", "heyJude.mp3 and eyJ and eyJx"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln has expired", "token *** has expired"),
        ("", ""),
        ("cannot reach https://h:1/chat?apikey=1&id=a, sorry", "cannot reach https://h:1/chat?*** sorry"),
        ("Is it wss://h/?x=1", "Is it wss://h/?***"),
        ("https://h/chat is what?", "https://h/chat is what?"),
    ],
)
def test_is_one_line_without_controls_and_tokens(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_is_cut_at_the_limit() -> None:
    assert redact("x" * 200) == "x" * 200
    assert redact("x" * 201) == "x" * 200 + "…"
    assert redact("abcdef", 3) == "abc…"


@settings(deadline=None)
@given(st.text(), st.integers(1, 50))
def test_is_printable_and_short_whatever_comes(text: str, limit: int) -> None:
    shown = redact(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit + 1
