from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalr_sdk.azure.names import audiences, hub_name, query, segment, several


@pytest.mark.parametrize(
    ("hub", "application", "name"),
    [
        ("chat", None, "chat"),
        ("Chat", "Shop", "shop_chat"),
        ("a_`,.[]9", None, "a_`,.[]9"),
        ("x" * 128, None, "x" * 128),
    ],
)
def test_hubs(hub: str, application: str | None, name: str) -> None:
    assert hub_name(hub, application) == name


@pytest.mark.parametrize("hub", ["", "4chat", "_chat", "my chat", "my-chat", "a/b", "grüße", "x" * 129, "chat\n", 7])
def test_hubs_that_are_not_allowed(hub: Any) -> None:
    with pytest.raises(ValueError, match="the hub name") as caught:
        hub_name(hub)
    assert "is not allowed: it begins with a letter" in str(caught.value)
    with pytest.raises(ValueError, match="the application name"):
        hub_name("chat", hub)


def test_each_character_of_a_hub_is_allowed_or_not() -> None:
    def is_allowed(name: str) -> bool:
        try:
            return hub_name(name) == name.lower()
        except ValueError:
            return False

    others = ["ä", "\u041a", "\uff58", "٣", "\u0130", "\ud800", "🚀"]  # letters and digits outside of ASCII
    characters = [*map(chr, range(0x80)), *others]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert "".join(filter(is_allowed, characters)) == letters
    assert (
        "".join(each for each in characters if is_allowed(f"h{each}"))
        == f",.0123456789{letters[:26]}[]_`{letters[26:]}"
    )


def test_application_and_hub_together_are_bounded() -> None:
    with pytest.raises(ValueError, match="together are over 128 characters: 129"):
        hub_name("x" * 64, "y" * 64)


@given(st.text(min_size=1).filter(lambda name: name not in (".", "..") and not name.isspace()))
def test_a_segment_is_the_name_again(name: str) -> None:
    encoded = segment("user", name)
    assert unquote(encoded) == name
    assert encoded.isascii()
    assert not {"/", "?", "#", " "} & set(encoded)


@pytest.mark.parametrize(
    ("what", "name", "error"),
    [
        ("group", "", "the group is empty"),
        ("group", " \t", "the group is empty"),
        ("group", "x" * 1025, "1025 characters, over the limit of 1024"),
        ("user", ".", "another place"),
        ("connection", "..", "another place"),
        ("user", "\ud800", "half a surrogate pair"),
    ],
)
def test_names_that_no_url_can_carry(what: str, name: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        segment(what, name)


def test_a_name_is_text() -> None:
    with pytest.raises(TypeError, match="the user must be a str, not int"):
        segment("user", 7)  # type: ignore[arg-type]


def test_several_are_each_once_and_checked() -> None:
    assert several("user", iter(["b", "a", "b"])) == ("b", "a")
    assert several("user", ()) == ()
    with pytest.raises(ValueError, match="another place"):
        several("group", ["a", ".."])
    for alone in ("anna", b"anna"):
        with pytest.raises(TypeError, match="several users are wanted"):
            several("user", alone)  # type: ignore[arg-type]


def test_queries() -> None:
    assert query(("a", None), ("b", 0), ("c", "x&y=z/ü")) == "b=0&c=x%26y%3Dz%2F%C3%BC"


def test_audiences() -> None:
    url = "https://x.test:81/api/hubs/h/groups/a%20b/:send"
    assert audiences(f"{url}?api-version=1&excluded=a") == (url,)
    assert audiences("http://x/50%2541?q") == ("http://x/50%2541", "http://x/50%41")
