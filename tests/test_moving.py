"""The pages on moving name what there is, on both sides."""

from __future__ import annotations

import inspect
import re

import attrs
import pysignalr.client
import pytest
from tests.page_programs import DOCS, pages

import signalr_sdk
import signalr_sdk.sync
from signalr_sdk import HubConnection, Limits, Retry, Timeouts

PAGES = [page for page in pages() if page.startswith("how-to/moving-from-")]
# Names of the reader's own, and what an object of theirs has.
EXAMPLES = ("f", "generator", "next_delay")


def columns(page: str, column: int) -> str:
    """Return a column of the table of a page."""
    rows = re.findall(r"^\| (.+) \| (.+) \|$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)
    return "\n".join(row[column] for row in rows[1:])


def test_there_are_pages() -> None:
    assert len(PAGES) == 5


def test_all_of_pysignalr_is_there() -> None:
    client = pysignalr.client.SignalRClient
    names = {name for name in dir(client) if not name.startswith("_")} | set(inspect.signature(client).parameters)
    there = set(re.findall(r"\w+", columns("how-to/moving-from-pysignalr.md", 0)))
    assert names - {"url"} <= there


@pytest.mark.parametrize("page", PAGES)
def test_what_is_here_exists(page: str) -> None:
    text = columns(page, 1)
    methods = re.findall(r"\bhub\.(\w+)|`(\w+)\(", text)
    parameters = [set(inspect.signature(taken).parameters) for taken in (HubConnection, HubConnection.invoke, Retry)]
    known = set().union(*parameters, *({field.name for field in attrs.fields(kind)} for kind in (Limits, Timeouts)))
    assert {method or name for method, name in methods} <= {*dir(HubConnection), *signalr_sdk.__all__, *EXAMPLES}
    assert set(re.findall(r"(?<![\w\"])(\w+)=", text)) <= known
