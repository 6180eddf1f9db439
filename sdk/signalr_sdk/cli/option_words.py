"""Shortens error texts of the package for the command line, and says their advice in options instead of in Python."""

from __future__ import annotations

import re

_WORDS = (
    # asyncio's own words for a failed connection say no more than the text around them. The URL is the user's own.
    (re.compile(r"cannot negotiate: (cannot connect to \S+): Connect call failed \([^()]*\) \(\S+\)"), r"\1"),
    (re.compile(r"pass access_token= or cookies="), "pass --token, or cookies with --header"),
    (re.compile(r"pass access_token="), "pass --token"),
    (re.compile(r"headers= or access_token="), "--header or --token"),
    (re.compile(r"the URL given as proxy="), "--proxy"),
    (re.compile(r"pass ssl=ssl\.create_default_context\(cafile=\.\.\.\)"), "pass its certificate as --ca FILE"),
    (
        re.compile(r"call load_cert_chain\(\) on a context and pass that as ssl="),
        "write a program: this command has none to show",
    ),
    (re.compile(r"for SOCKS bring an HttpClient that can do it as http="), "SOCKS proxies need a program"),
    (re.compile(r"among transports="), "among --transport"),
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


def in_options(text: str) -> str:
    """Return an error text of the package, with options such as `--token` in place of Python's arguments.

    Example:
        >>> in_options("the server wants authentication: pass access_token=, or check the token")
        'the server wants authentication: pass --token, or check the token'
    """
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text
