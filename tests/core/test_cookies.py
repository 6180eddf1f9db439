"""Cookies between the requests of one connection."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalr_sdk._core.cookies import CookieStore

HUB = "https://example.com/app/hub/negotiate?x=1"
NOW = 1_800_000_000.0


def sent(url: str, *cookies: str, by: str = HUB) -> str | None:
    store = CookieStore()
    store.store(by, cookies, NOW)
    return store.header(url)


def test_nothing_is_sent_before_something_is_set() -> None:
    assert CookieStore().header(HUB) is None
    assert sent(HUB) is None


def test_values_are_verbatim_and_in_the_order_set() -> None:
    assert sent(HUB, 'a="x y"; Path=/', "b=%20=+=; path=/; HttpOnly", "c=; Path=/; SameSite=Lax") == (
        'a="x y"; b=%20=+=; c='
    )


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://example.com/other", True),
        ("https://EXAMPLE.com:443/", True),
        ("wss://example.com/", True),
        ("https://example.com", True),
        ("http://example.com/", False),
        ("https://example.com:8443/", False),
        ("https://www.example.com/", False),
        ("https://example.org/", False),
    ],
)
@pytest.mark.parametrize("domain", ["", "; Domain=example.com", "; Domain=.example.com", "; Domain=com"])
def test_only_the_origin_that_set_it_gets_it_whatever_its_domain(url: str, same: bool, domain: str) -> None:
    assert sent(url, "a=1; Path=/" + domain) == ("a=1" if same else None)


def test_an_address_is_an_origin_too() -> None:
    assert sent("http://127.0.0.1:5000/hub?id=1", "a=1", by="http://127.0.0.1:5000/hub/negotiate") == "a=1"
    assert sent("http://127.0.0.1:5001/hub", "a=1", by="http://127.0.0.1:5000/hub/negotiate") is None


@pytest.mark.parametrize(
    ("path", "url", "fits"),
    [
        ("/", "https://example.com/", True),
        ("/app", "https://example.com/app", True),
        ("/app", "https://example.com/app/hub?id=1", True),
        ("/app/", "https://example.com/app/hub", True),
        ("/app", "https://example.com/apple", False),
        ("/app/", "https://example.com/app", False),
        ("/App", "https://example.com/app", False),
        # Without a usable path it is the folder of the request.
        ("", "https://example.com/app/hub", True),
        ("", "https://example.com/app/hub/more", True),
        ("relative", "https://example.com/app/hub?id=1", True),
        ("", "https://example.com/app", False),
    ],
)
def test_paths(path: str, url: str, fits: bool) -> None:
    assert sent(url, f"a=1; Path={path}") == ("a=1" if fits else None)


def test_the_folder_of_a_request_at_the_top_is_the_root() -> None:
    assert sent("https://example.com/x", "a=1", by="https://example.com/negotiate") == "a=1"


def test_longer_paths_come_first() -> None:
    assert sent("https://example.com/app/x", "a=1; Path=/", "b=2; Path=/app", "c=3; Path=/") == "b=2; a=1; c=3"


def test_a_secure_cookie_is_for_https_only() -> None:
    assert sent(HUB, "a=1; Secure; Path=/") == "a=1"
    assert sent("http://example.com/", "a=1; secure; Path=/", by="http://example.com/hub") is None


def test_a_new_value_replaces_the_old_one_of_the_same_path() -> None:
    assert sent("https://example.com/", "a=1; Path=/", "b=2; Path=/", "a=3; Path=/") == "a=3; b=2"
    assert sent("https://example.com/app/x", "a=1; Path=/", "a=2; Path=/app") == "a=2; a=1"


@pytest.mark.parametrize(
    "attribute",
    [
        "Max-Age=0",
        "max-age=-1",
        "Max-Age=00",
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Expires=Thu, 01-Jan-1970 00:00:01 GMT",
        "Expires=Fri, 15 Jan 2027 07:59:59 GMT",
        "Max-Age=0; Expires=Fri, 01 Jan 2100 00:00:00 GMT",
    ],
)
def test_a_cookie_of_the_past_deletes(attribute: str) -> None:
    assert sent("https://example.com/", "a=1; Path=/", f"a=2; Path=/; {attribute}") is None
    assert sent("https://example.com/", f"a=2; Path=/; {attribute}") is None


@pytest.mark.parametrize(
    "attribute",
    [
        "Max-Age=1",
        "Max-Age=later",
        "Max-Age=",
        "Expires=Fri, 15 Jan 2027 08:00:01 GMT",
        "Expires=when it wants",
        "Max-Age=5; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ],
)
def test_other_times_keep_it(attribute: str) -> None:
    assert sent("https://example.com/", f"a=1; Path=/; {attribute}") == "a=1"


def test_without_a_clock_dates_before_2000_delete() -> None:
    store = CookieStore()
    store.store(HUB, ["a=1; Path=/; Expires=Fri, 31 Dec 1999 23:59:59 GMT", "b=1; Path=/; Expires=1 Jan 2001 0:0:0"])
    assert store.header(HUB) == "b=1"


@pytest.mark.parametrize(
    "malformed",
    ["", ";", "=", "=1", "a", "a; Path=/", " =x", "a=1\r\nX-Evil: 1", "a=1\x00", "a=" + "x" * 4096, "a=1; Path=/\x01"],
)
def test_malformed_cookies_are_ignored(malformed: str) -> None:
    assert sent(HUB, malformed, "ok=1; Path=/") == "ok=1"


def test_a_server_cannot_fill_the_memory() -> None:
    store = CookieStore()
    store.store(HUB, [f"c{number}=1; Path=/" for number in range(60)], NOW)
    assert len((store.header(HUB) or "").split("; ")) == 50
    store.store(HUB, ["c0=2; Path=/", "c1=; Path=/; Max-Age=0", "new=3; Path=/"], NOW)
    header = store.header(HUB) or ""
    assert header.startswith("c0=2; c2=1;")
    assert header.endswith("; new=3")


@settings(deadline=None)
@given(st.text())
def test_whatever_comes_is_kept_or_ignored(text: str) -> None:
    header = sent("https://example.com/app/hub/x", text)
    assert header is None or not set(header) & set("\r\n\0;")
