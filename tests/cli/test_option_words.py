"""Error texts of the package, in the words of the command line."""

from __future__ import annotations

import re

import pytest

from signalr_sdk._core.negotiate_answer import _ADVICE
from signalr_sdk._transports import transport_errors
from signalr_sdk.classic import negotiation as classic
from signalr_sdk.cli.option_words import in_options

# An argument of Python: a name, an equals sign, and no value of a query.
ARGUMENT = re.compile(r"\b[a-z_]+=(?![^\s,;]*\*\*\*)|Timeouts\.|Limits\.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_ADVICE[401], "the server wants authentication: pass --token or --token-file, or set SIGNALR_TOKEN"),
        (_ADVICE[407], "the proxy wants a user and password: put them into --proxy"),
        (
            "not trusted; if it comes from a CA of your own, pass ssl=ssl.create_default_context(cafile=...)",
            "--ca FILE",
        ),
        ("if it wants a client certificate, call load_cert_chain() on a context and pass that as ssl=", "a program"),
        ("the hub's URL holds a user or password: use headers= or access_token= instead", "use --header or --token"),
        ("not connected, and no connection came within 15 s (Timeouts.ready)", "no connection came within 15 s"),
        (
            "no message for 30 s: the connection is dead (Timeouts.server; it should be longer)",
            "the connection is dead",
        ),
        ("not tried: it is not among transports=, or has failed before", "not among --transport, or has failed"),
        (
            "cannot negotiate: cannot connect to a.example:80: Connect call failed ('1.2.3.4', 80) (http://a.example/x)",
            "cannot connect to a.example:80",
        ),
    ],
)
def test_advice_is_in_options(text: str, words: str) -> None:
    assert words in in_options(text)
    assert ARGUMENT.search(in_options(text)) is None


@pytest.mark.parametrize("advice", [*_ADVICE.values(), *classic._ADVICE.values()])
def test_no_advice_about_a_status_is_in_python(advice: str) -> None:
    assert ARGUMENT.search(in_options(advice)) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            _ADVICE[401],
            "the server refuses the token of C:\\1: check that it is for this server, valid and not expired",
        ),
        (
            classic._ADVICE[401].format(hubs=" (Chat, {News})"),
            "the server or one of the hubs refuses the token of C:\\1 (Chat, {News}): check that it is for this server",
        ),
        (transport_errors.advice(401), ": the token of C:\\1 is expired or not accepted"),
    ],
)
def test_a_refused_token_is_said_with_its_source(text: str, words: str) -> None:
    assert words in in_options(text, "C:\\1")


def test_queries_stay() -> None:
    assert in_options("refused: /hub?access_token=***") == "refused: /hub?access_token=***"
