"""Values of HTTP headers."""

from __future__ import annotations

import importlib.metadata
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalr_sdk._core import headers

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("version", "platform", "shown"),
    [
        ("1.2.3", "linux", "Microsoft SignalR/1.2 (1.2.3; Linux; Python; 3.12.1)"),
        ("10.0.0rc1", "win32", "Microsoft SignalR/10.0 (10.0.0rc1; Windows NT; Python; 3.12.1)"),
        ("0.1.dev3+g1", "darwin", "Microsoft SignalR/0.1 (0.1.dev3+g1; macOS; Python; 3.12.1)"),
        ("1", "freebsd14", "Microsoft SignalR/0.0 (1; Unknown OS; Python; 3.12.1)"),
    ],
)
def test_the_user_agent_has_the_official_form(version: str, platform: str, shown: str) -> None:
    assert headers.format_user_agent(version, platform, "3.12.1") == shown


def test_the_user_agent_names_the_installed_package() -> None:
    form = r"Microsoft SignalR/\d+\.\d+ \(\d+\.\d+\.\d+\S*; [\w ]+; Python; 3\.\d+\.\d+\)"
    assert re.fullmatch(form, headers.USER_AGENT)


def test_the_version_is_that_of_the_metadata() -> None:
    assert f"({importlib.metadata.version('signalr-sdk')};" in headers.USER_AGENT


def test_the_version_is_in_the_name_of_the_first_metadata(tmp_path: Path) -> None:
    for name in ("a/signalr_sdk-1.2.3rc1.dist-info", "b/signalr_sdk-4.5.dist-info", "a/signalr_sdk_more-6.dist-info"):
        (tmp_path / name).mkdir(parents=True)
    folders = (tmp_path, tmp_path / "missing", tmp_path / "a", tmp_path / "b")
    assert headers.installed_version(folders) == "1.2.3rc1"


def test_a_package_that_is_not_installed_has_version_zero(tmp_path: Path) -> None:
    assert headers.installed_version([tmp_path]) == "0.0.0"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("-5", None),
        ("1e9", None),
        ("٣", None),
        ("9" * 400, None),
        ("soon", None),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert headers.parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize("now", [0.0, 12.5, 86400.0, 1_700_000_000.0, -5.0])
def test_a_date_says_nothing_to_a_machine_whose_clock_was_never_set(now: float) -> None:
    """A device without a battery begins in 1970, and would wait for 57 years."""
    assert headers.parse_retry_after("Fri, 15 Jan 2027 08:00:30 GMT", now) is None
    assert headers.parse_retry_after("7", now) == 7.0


@pytest.mark.parametrize("date", ["Fri, 15 Jan 2027 12:00:00 GMT", "Fri, 15 Jan 9999 08:00:30 GMT"])
def test_a_date_is_an_hour_away_at_most(date: str) -> None:
    assert headers.parse_retry_after(date, NOW) == 3600.0


def test_without_a_clock_a_date_says_nothing() -> None:
    assert headers.parse_retry_after("Fri, 15 Jan 2027 08:00:30 GMT", 0.0) is None
    assert headers.parse_retry_after("7", 0.0) == 7.0


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "6 november 1994 8:49:37",
    ],
)
def test_each_form_of_date(text: str) -> None:
    assert headers.parse_date(text) == 784111777.0


@pytest.mark.parametrize(
    ("text", "year"),
    [("1 Jan 70 0:0:0", 1970), ("1 Jan 69 0:0:0", 2069), ("1 Jan 99 0:0:0", 1999), ("1 Jan 00 0:0:0", 2000)],
)
def test_years_of_two_digits(text: str, year: int) -> None:
    assert headers.parse_date(text) == datetime(year, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "Sun, 06 Nov 1994",
        "08:49:37 GMT",
        "31 Feb 2024 00:00:00",
        "1 Jan 2024 25:00:00",
        "1 Jan 2024 00:00:60",
        "0 Jan 2024 00:00:00",
        "1 Jan 20245 00:00:00",
        "1 Jan 2024 00:00:000",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert headers.parse_date(text) is None


@settings(deadline=None)
@given(st.datetimes(datetime(1970, 1, 1), datetime(2999, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001
def test_dates_as_servers_write_them(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    assert headers.parse_date(format_datetime(moment, usegmt=True)) == moment.timestamp()


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_date_or_none(text: str) -> None:
    headers.parse_date(text)
    headers.parse_retry_after(text, NOW)
