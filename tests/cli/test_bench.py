"""`signalr bench`: its table, its JSON and its chart, for a hub with all methods and for one without."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk.testing import HubServer
from signalr_sdk.testing.demo_hub import DemoHub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Signalr

pytestmark = pytest.mark.timeout(60)

SCENARIOS = [
    "invoke, one after another",
    "invoke, 100 at once",
    "send",
    "receive",
    "stream down",
    "stream up",
    "connect and stop",
]


@pytest.fixture
def url() -> Iterator[str]:
    with HubServer({"/chat": DemoHub}) as server:
        yield server.url("/chat")


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
def test_every_scenario_is_measured(signalr: Signalr, url: str, protocol: str) -> None:
    done = signalr("bench", url, "--count", "250", "--protocol", protocol, "--json")
    assert (done.status, done.err) == (0, "")
    rows: list[dict[str, Any]] = json.loads(done.out)
    assert [row["scenario"] for row in rows] == SCENARIOS
    assert [row["count"] for row in rows] == [25, 250, 250, 250, 250, 250, 2]
    assert all(row["error"] is None and row["seconds"] > 0 for row in rows)


def test_the_table_has_a_line_for_each(signalr: Signalr, url: str) -> None:
    done = signalr("bench", url, "--count", "10")
    assert (done.status, done.err) == (0, "")
    head, *lines = done.out.splitlines()
    assert head.split() == ["scenario", "count", "per", "second", "CPU", "us", "each"]
    assert [line.split("  ")[0] for line in lines] == SCENARIOS


def test_a_method_that_fails_is_told_and_the_rest_is_measured(signalr: Signalr, url: str) -> None:
    done = signalr("bench", url, "--count", "10", "--invoke", "Subtract 1 2", "--stream", "Fail 'no {count}'")
    assert done.status == 1
    by_name = {line.split("  ")[0]: line for line in done.out.splitlines()}
    for name in SCENARIOS[:3]:
        assert "Method does not exist" in by_name[name]
    assert by_name["stream up"].rstrip()[-1].isdigit()


def test_an_empty_call_leaves_a_scenario_out(signalr: Signalr, url: str) -> None:
    left_out = [word for name in ("invoke", "flood", "stream", "upload") for word in (f"--{name}", "")]
    done = signalr("bench", url, "--count", "1", "--json", *left_out)
    assert [row["scenario"] for row in json.loads(done.out)] == ["connect and stop"]


def test_the_picture(signalr: Signalr, url: str, tmp_path: Path) -> None:
    file = tmp_path / "bench.svg"
    done = signalr("bench", url, "--count", "10", "--plot", str(file))
    assert (done.status, done.err) == (0, "")
    assert "<svg" in file.read_text()


def test_a_picture_that_cannot_be_written_is_wrong_usage(signalr: Signalr, url: str, tmp_path: Path) -> None:
    for file in (tmp_path / "missing" / "bench.png", tmp_path / "bench.nonsense"):
        done = signalr("bench", url, "--count", "1", "--plot", str(file))
        assert done.status == 2
        assert f"--plot: cannot write {file}" in done.err


def test_without_the_extra_nothing_is_measured_in_vain(
    signalr: Signalr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = signalr("bench", "http://127.0.0.1:1/chat", "--plot", str(tmp_path / "bench.png"))
    assert (done.status, done.out) == (2, "")
    assert "pip install 'signalr-sdk[plot]'" in done.err


def test_no_connection_is_status_3(signalr: Signalr) -> None:
    assert signalr("bench", "http://127.0.0.1:1/chat").status == 3
