"""Shortens error texts of the package for the command line, and says their advice in options instead of in Python."""

from __future__ import annotations

import re

# What the package says if a server answers 401: it does not know whether there was a token.
_WANTED = re.compile(
    r"wants authentication( \([^()]*\))?: pass access_token=(?: or cookies=)?, or check that (?:the token is|they are) "
    "valid and not expired"
)
_MISSING = "the token is missing, expired or not accepted"
_WORDS = (
    # asyncio's own words for a failed connection say no more than the text around them. The URL is the user's own.
    (re.compile(r"cannot negotiate: (cannot connect to \S+): Connect call failed \([^()]*\) \(\S+\)"), r"\1"),
    (re.compile(r"pass access_token= or cookies="), "pass --token, or cookies with --header"),
    (
        re.compile(r"pass access_token=, or check that the token is valid and not expired"),
        "pass --token or --token-file, or set SIGNALR_TOKEN",
    ),
    (re.compile(r"headers= or access_token="), "--header or --token"),
    (re.compile(r"the URL given as proxy="), "--proxy"),
    (re.compile(r"pass ssl=ssl\.create_default_context\(cafile=\.\.\.\)"), "pass its certificate as --ca FILE"),
    (
        re.compile(r"call load_cert_chain\(\) on a context and pass that as ssl="),
        "write a program: this command has none to show",
    ),
    (re.compile(r"for SOCKS bring an HttpClient that can do it as http="), "SOCKS proxies need a program"),
    (re.compile(r"among transports="), "among --transport"),
    (re.compile(r"MessagePack needs WebSockets or long polling"), "with --protocol msgpack use --transport ws or lp"),
    (re.compile(r" \((?:Timeouts\.[a-z_]+)(?:; ([^()]*))?\)"), ""),
)


# The URL at the end of an error text, with the status, or with the transport.
_PLACE = re.compile(r" \(https?://[^\s,()]+(?:, (?:(status \d+)|\w+))?\)$")


def without_place(text: str) -> str:
    """Return an error text without the URL at its end, for a report about one hub; the HTTP status stays.

    Example:
        >>> without_place("the server did not open a WebSocket (http://example.com/chat, status 400)")
        'the server did not open a WebSocket (status 400)'
    """
    return _PLACE.sub(lambda found: f" ({found[1]})" if found[1] else "", text)


def in_options(text: str, token_source: str | None = None) -> str:
    """Return an error text of the package, with options such as `--token` in place of Python's arguments.

    Args:
        text: the error text.
        token_source: where the bearer token comes from, for the case that the server refuses it; `None` without one.

    Example:
        >>> in_options("the hub's URL holds a user or password: use headers= or access_token= instead")
        "the hub's URL holds a user or password: use --header or --token instead"
    """
    if token_source is not None:
        text = _with_source(text, token_source)
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text


def _with_source(text: str, source: str) -> str:
    """Say in an error text about status 401 that the server refuses the token, and where the token comes from."""
    advice = "check that it is for this server, valid and not expired"
    text = _WANTED.sub(lambda found: f"refuses the token of {source}{found[1] or ''}: {advice}", text)
    return text.replace(_MISSING, f"the token of {source} is expired or not accepted")
