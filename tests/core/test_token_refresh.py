"""What servers say to a refresh of the token, and when the next one is due."""

from __future__ import annotations

import pytest

from signalr_sdk._core.token_refresh import RefreshAnswer, delay, is_required, read_answer
from signalr_sdk.errors import AuthenticationRefreshError


@pytest.mark.parametrize(
    ("lifetime", "before", "expected"),
    [
        (3600.0, 300.0, 3300.0),
        (601.0, 300.0, 301.0),
        (600.0, 300.0, 300.0),
        (500.0, 300.0, 250.0),
        (60.0, 0.0, 60.0),
        (2.0, 300.0, 1.0),
        (0.001, 300.0, 0.5),
        (0.0, 300.0, 0.5),
        (0.0, 0.0, 0.5),
    ],
)
def test_when_the_next_refresh_is_due(lifetime: float, before: float, expected: float) -> None:
    assert delay(lifetime, before) == expected


def test_tokens_that_never_live_a_second_are_refreshed_often_for_a_minute_only() -> None:
    assert delay(0.0, 300.0, short_lived=120) == 0.5
    assert delay(0.0, 300.0, short_lived=121) == 60.0


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (409, b'{"error":"authentication_refresh_required"}', True),
        (409, b'{"error":"another"}', False),
        (409, b"", False),
        (409, b"[]", False),
        (409, b"\xff", False),
        (200, b'{"error":"authentication_refresh_required"}', False),
    ],
)
def test_which_answer_asks_for_a_refresh(status: int, body: bytes, expected: bool) -> None:
    assert is_required(status, body) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", RefreshAnswer()),
        (b" \r\n", RefreshAnswer()),
        (b"{}", RefreshAnswer()),
        (b'\xef\xbb\xbf{"tokenLifetimeSeconds":3600,"unknown":[1]}', RefreshAnswer(3600.0)),
        (b'{"tokenLifetimeSeconds":null,"accessToken":null}', RefreshAnswer()),
        (b'{"tokenLifetimeSeconds":0,"accessToken":""}', RefreshAnswer(0.0)),
        (b'{"tokenLifetimeSeconds":-5,"accessToken":"abc"}', RefreshAnswer(None, "abc")),
        (b'{"tokenLifetimeSeconds":1e400}', RefreshAnswer(2.0**31)),
    ],
)
def test_answers(body: bytes, expected: RefreshAnswer) -> None:
    assert read_answer(200, body) == expected


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"<html>", "Expecting value"),
        (b"[1]", "no JSON object"),
        (b"\xff\xfe", "decode"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"tokenLifetimeSeconds":"3600"}', "tokenLifetimeSeconds is no number"),
        (b'{"tokenLifetimeSeconds":true}', "tokenLifetimeSeconds is no number"),
        (b'{"accessToken":5}', "accessToken is no text"),
        (b'{"accessToken":"a\\nb"}', "accessToken is no text"),
    ],
)
def test_answers_that_are_none(body: bytes, text: str) -> None:
    with pytest.raises(AuthenticationRefreshError, match=text) as caught:
        read_answer(200, body)
    assert caught.value.status == 200


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "misses the connection's token"),
        (401, "does not accept the token"),
        (403, "another user"),
        (404, "no refresh for this hub"),
        (500, "the server refused"),
    ],
)
def test_refusals_name_the_status_and_what_it_means(status: int, text: str) -> None:
    with pytest.raises(AuthenticationRefreshError, match=text) as caught:
        read_answer(status, b"secret page")
    assert caught.value.status == status
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (400, "missing_connection_token", "without the connection's token"),
        (403, "user_changed", "another user"),
        (403, "permission_change_rejected", "the application refuses"),
        (404, "connection_not_found", "not known there"),
    ],
)
def test_refusals_with_a_reason_of_the_servers(status: int, error: str, text: str) -> None:
    with pytest.raises(AuthenticationRefreshError, match=text) as caught:
        read_answer(status, f'{{"error":"{error}"}}'.encode())
    assert f"(status {status}, {error})" in str(caught.value)


@pytest.mark.parametrize("body", [b'{"error":"something else"}', b'{"error":["user_changed"]}', b"[" * 100_000])
def test_an_unknown_reason_is_not_shown(body: bytes) -> None:
    with pytest.raises(AuthenticationRefreshError, match=r"may not be used here \(status 403\)"):
        read_answer(403, body)


def test_no_token_is_shown() -> None:
    assert "abc" not in repr(RefreshAnswer(None, "abc"))
