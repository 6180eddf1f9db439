"""The secrets of a connection are taken out of texts, also where a text was cut in the middle of a secret."""

from __future__ import annotations

import pytest

from signalr_sdk._core.known_secrets import KnownSecrets

SECRET = "abcd-abcd-abcx"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"it is {SECRET}, you see", "it is ***, you see"),
        ("it is abcd-abcd-ab…", "it is ***…"),
        # What looks like the begin of the secret at first is not, and the begin comes later.
        ("abcd-abcd-zabcd-…", "abcd-abcd-z***…"),
        ("abcd? abcd-a…", "abcd? ***…"),
        ("abcd? no secret…", "abcd? no secret…"),
        ("abc…", "abc…"),
    ],
)
def test_a_secret_is_hidden_whole_and_in_part(text: str, hidden: str) -> None:
    secrets = KnownSecrets()
    secrets.add(SECRET)
    assert secrets.hide(text) == hidden
