"""URLs: what the user wrote goes on the wire as it is, plus what the protocol adds."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalr_sdk._core import urls


@pytest.mark.parametrize(
    ("given_url", "used"),
    [
        ("http://example.com/hub", "http://example.com/hub"),
        ("HTTPS://Example.com/Hub", "https://Example.com/Hub"),
        ("ws://example.com/hub", "http://example.com/hub"),
        ("wss://example.com:8443/hub", "https://example.com:8443/hub"),
        ("http://example.com", "http://example.com/"),
        ("http://example.com?a=1", "http://example.com/?a=1"),
        ("http://example.com:/hub", "http://example.com/hub"),
        ("http://example.com:080/hub", "http://example.com:80/hub"),
        ("http://my_service.internal/hub/", "http://my_service.internal/hub/"),
        ("http://127.0.0.1:5000/hub", "http://127.0.0.1:5000/hub"),
        ("http://[::1]:5000/hub", "http://[::1]:5000/hub"),
        ("http://[fe80::1%25eth0]/hub", "http://[fe80::1%25eth0]/hub"),
        ("  http://example.com/hub\n", "http://example.com/hub"),
        ("http://example.com/hub#top", "http://example.com/hub"),
        ("http://example.com/hub?a=1#top?b=2", "http://example.com/hub?a=1"),
        ("http://example.com/hub?", "http://example.com/hub?"),
        ("http://example.com/hub?a=%2f&b=a+b&c=/?:@'\"&&d", "http://example.com/hub?a=%2f&b=a+b&c=/?:@'\"&&d"),
        ("http://example.com/hub?q=ä b", "http://example.com/hub?q=%C3%A4%20b"),
        ("http://example.com/mein hub/ü", "http://example.com/mein%20hub/%C3%BC"),
        ("http://example.com/a%20b/%e4", "http://example.com/a%20b/%e4"),
        ("http://example.com/100%/hub", "http://example.com/100%25/hub"),
        ("http://example.com/a\\b", "http://example.com/a%5Cb"),
        ("http://bücher.example/hub", "http://xn--bcher-kva.example/hub"),
    ],
)
def test_a_hub_url_is_made_ready_once(given_url: str, used: str) -> None:
    assert urls.hub_url(given_url) == used
    assert urls.hub_url(used) == used


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("", "must start with http"),
        ("/hub", "must start with http:// or https:// and name a host, not '/hub'"),
        ("example.com/hub", "not 'example.com/hub'"),
        ("localhost:5000/hub", "not 'localhost:5000/hub'"),
        ("ftp://example.com/hub", "not 'ftp://example.com/hub'"),
        ("http:/example.com", "must start with http"),
        ("me:secret@example.com/hub", "name a host$"),
        ("http://", "names no host"),
        ("http:///hub", "names no host"),
        ("http://:5000/hub", "names no host"),
        ("http://me:secret@example.com/hub", "user or password: use headers= or access_token="),
        ("http://example.com:http/hub", "no valid port"),
        ("http://example.com:0/hub", "no valid port"),
        ("http://example.com:65536/hub", "no valid port"),
        ("http://example.com:123456/hub", "no valid port"),
        ("http://example.com:٣/hub", "no valid port"),
        ("http://example.com:1:2/hub", "no valid host and port"),
        ("http://[::1/hub", "no valid host and port"),
        ("http://[1]/hub", r"no valid host: '\[1\]'$"),
        ("http://exa mple.com/hub", "no valid host: 'exa mple.com'$"),
        ("http://exa\\mple/hub", "no valid host"),
        # Too long only in its ASCII form.
        (f"http://{'.'.join(['cämple'] * 30)}/hub", r"no valid host: '.*'; write it in its ASCII form"),
        ("http://evil.example\uff0fx/hub", "ASCII form"),
        ("http://straße.example/hub", "ASCII form"),
        ("http://ä" + "x" * 80 + ".example/hub", "ASCII form"),
        ("http://example.com/a\nb", "control character"),
        ("http://example.com/\ud800", "surrogate"),
    ],
)
def test_a_url_that_cannot_be_a_hub_is_refused_with_the_reason(bad: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        urls.hub_url(bad)
    assert "secret" not in str(raised.value)


def test_the_reason_never_holds_the_query() -> None:
    for bad in ("hub?access_token=secret", "http://?secret", "http://a b?secret", "http://a:x?secret"):
        with pytest.raises(ValueError, match="the hub's URL") as raised:
            urls.hub_url(bad)
        assert "secret" not in str(raised.value)


def test_a_url_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a str, not NoneType"):
        urls.hub_url(None)  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.text())
def test_any_path_and_query_gives_a_url_that_can_be_sent_and_stays(text: str) -> None:
    try:
        url = urls.hub_url("http://example.com/" + text)
    except ValueError:
        return
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url
    assert urls.hub_url(url) == url


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://e.com/", "http://e.com/negotiate?negotiateVersion=1"),
        ("http://e.com/hub", "http://e.com/hub/negotiate?negotiateVersion=1"),
        ("http://e.com/hub/", "http://e.com/hub/negotiate?negotiateVersion=1"),
        ("http://e.com:5000/a/b", "http://e.com:5000/a/b/negotiate?negotiateVersion=1"),
        ("http://e.com/hub?q=1", "http://e.com/hub/negotiate?q=1&negotiateVersion=1"),
        ("http://e.com/hub/?q=/x/", "http://e.com/hub/negotiate?q=/x/&negotiateVersion=1"),
        ("http://e.com/hub?", "http://e.com/hub/negotiate?negotiateVersion=1"),
        ("http://e.com/hub?q=1&", "http://e.com/hub/negotiate?q=1&negotiateVersion=1"),
        ("http://e.com/hub?negotiateVersion=0", "http://e.com/hub/negotiate?negotiateVersion=0"),
        ("http://e.com/hub?a=1&negotiateVersion", "http://e.com/hub/negotiate?a=1&negotiateVersion"),
        ("http://e.com/hub?negotiate%56ersion=1", "http://e.com/hub/negotiate?negotiate%56ersion=1"),
        # A name or value that only contains it is another parameter (.NET 10 was wrong about that).
        ("http://e.com/hub?xnegotiateVersion=1", "http://e.com/hub/negotiate?xnegotiateVersion=1&negotiateVersion=1"),
        ("http://e.com/hub?a=negotiateVersion=1", "http://e.com/hub/negotiate?a=negotiateVersion=1&negotiateVersion=1"),
    ],
)
def test_negotiate_goes_into_the_path_and_the_query_is_kept(url: str, where: str) -> None:
    assert urls.negotiate_url(url) == where


def test_refresh_goes_into_the_path_and_the_query_is_kept() -> None:
    assert urls.refresh_url("http://e.com/hub?room=1") == "http://e.com/hub/refresh?room=1"


def test_negotiate_asks_for_stateful_reconnect_once() -> None:
    ask = "http://e.com/hub/negotiate?negotiateVersion=1&useStatefulReconnect=true"
    assert urls.negotiate_url("http://e.com/hub", stateful=True) == ask
    asked = urls.negotiate_url("http://e.com/hub?useStatefulReconnect=false", stateful=True)
    assert asked == "http://e.com/hub/negotiate?useStatefulReconnect=false&negotiateVersion=1"


@pytest.mark.parametrize(
    ("url", "token", "where"),
    [
        ("http://e.com/hub", None, "http://e.com/hub"),
        ("http://e.com/hub", "abc_-", "http://e.com/hub?id=abc_-"),
        ("http://e.com/hub?", "abc", "http://e.com/hub?id=abc"),
        ("http://e.com/hub?a=1", "abc", "http://e.com/hub?a=1&id=abc"),
        ("http://e.com/hub?a=1&", "abc", "http://e.com/hub?a=1&id=abc"),
        ("http://e.com/hub", "a+b/c=d&e%20", "http://e.com/hub?id=a%2Bb%2Fc%3Dd%26e%2520"),
        ("http://e.com/hub", "\ud800", "http://e.com/hub?id=%3F"),
    ],
)
def test_the_id_comes_last_and_is_encoded_once(url: str, token: str | None, where: str) -> None:
    assert urls.connect_url(url, token) == where


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://e.com/hub", "http://e.com/hub?access_token=a%2Fb"),
        ("http://e.com/hub?q=1", "http://e.com/hub?q=1&access_token=a%2Fb"),
        ("http://e.com/hub?id=1", "http://e.com/hub?access_token=a%2Fb&id=1"),
        ("http://e.com/hub?q=1&id=1", "http://e.com/hub?q=1&access_token=a%2Fb&id=1"),
        ("http://e.com/hub?q=1&idle=1", "http://e.com/hub?q=1&idle=1&access_token=a%2Fb"),
        ("http://e.com/hub?id=1&q=1", "http://e.com/hub?id=1&q=1&access_token=a%2Fb"),
    ],
)
def test_an_access_token_stands_before_the_id(url: str, where: str) -> None:
    assert urls.with_access_token(url, "a/b") == where


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://e.com/hub?token=x", "http://e.com/hub"),
        ("http://e.com/hub#token?x", "http://e.com/hub"),
        ("http://me:secret@e.com/hub", "http://e.com/hub"),
        ("http://e.com//a@b", "http://e.com//a@b"),
        ("//me@e.com/hub", "//e.com/hub"),
        ("/login?return=/hub", "/login"),
        ("", ""),
    ],
)
def test_errors_and_logs_show_no_query_and_no_user(url: str, shown: str) -> None:
    assert urls.without_query(url) == shown


def test_origins() -> None:
    assert urls.origin("http://Example.com/a?b") == ("http", "example.com", 80)
    assert urls.origin("wss://example.com") == ("https", "example.com", 443)
    assert urls.origin("https://[::1]:5000/x") == ("https", "[::1]", 5000)
    assert urls.same_origin("http://e.com/a", "http://E.com:80/b")
    assert not urls.same_origin("http://e.com/", "https://e.com/")
    assert not urls.same_origin("http://e.com/", "http://e.com:8080/")
    assert not urls.same_origin("http://e.com/", "http://www.e.com/")


@pytest.mark.parametrize("url", ["/hub?secret", "ftp://e.com/", "http://a:b:c/"])
def test_what_is_no_url_has_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match="no absolute") as raised:
        urls.origin(url)
    assert "secret" not in str(raised.value)


HOSTILE = {
    "one label": lambda n: "http://" + "ö" * n + "/",
    "labels": lambda n: "http://" + "ö." * (n // 2) + "/",
    "combining marks": lambda n: "http://ö" + "\u0316\u0301" * (n // 2) + "/",
    "ascii": lambda n: "http://" + "a" * n + "/",
    "ipv6": lambda n: "http://[" + ":" * n + "]/",
    "port": lambda n: "http://a:" + "1" * n + "/",
    "user": lambda n: "http://" + "@" * n + "/",
    "slashes": lambda n: "http:" + "/" * n + "@",
    "percent": lambda n: "http://a/" + "%" * n,
    "scheme": lambda n: "a" * n + "://",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_long_url_costs_time_in_proportion_to_its_length(kind: str) -> None:
    """A redirect of negotiate may have 1 MiB."""
    url = HOSTILE[kind](2**20)
    began = time.process_time()
    with suppress(ValueError):
        urls.origin(urls.hub_url(url))
    urls.without_query(url)
    assert time.process_time() - began < 10.0


@pytest.mark.parametrize("query", ["??", "a?", "a=?&", "a?id=1", "?"])
def test_question_marks_in_a_query_are_no_begin_of_one(query: str) -> None:
    url = urls.with_access_token(urls.connect_url(f"https://hub.test/a&b?{query}", "token"), "secret")
    separator = "" if query.endswith("&") else "&"
    assert url == f"https://hub.test/a&b?{query}{separator}access_token=secret&id=token"
