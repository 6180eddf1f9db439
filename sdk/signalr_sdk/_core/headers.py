"""Makes and reads the values of HTTP headers: `User-Agent`, `Retry-After` and dates."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_OS_NAMES = {"win32": "Windows NT", "darwin": "macOS", "linux": "Linux"}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK_IS_SET = 1_735_689_600.0  # the first moment of 2025
_LONGEST_WAIT = 3600.0
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]+)?")

# Parse dates as RFC 6265, section 5.1.1 says: its algorithm reads all three forms of HTTP dates, and most of the wrong
# dates that servers send.
_DATE_DELIMITERS = re.compile(r"[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_DATE_PARTS = {
    "time": re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])"),
    "day": re.compile(r"([0-9]{1,2})(?![0-9])"),
    "month": re.compile("|".join(_MONTHS), re.IGNORECASE),
    "year": re.compile(r"([0-9]{2,4})(?![0-9])"),
}


def format_user_agent(version: str, platform: str, python: str) -> str:
    """Return the `User-Agent`, made of the version of this package, of `sys.platform` and of the version of Python.

    Example:
        >>> format_user_agent("1.2.3", "linux", "3.11.9")
        'Microsoft SignalR/1.2 (1.2.3; Linux; Python; 3.11.9)'
    """
    short = re.match(r"[0-9]+\.[0-9]+", version)
    system = _OS_NAMES.get(platform, "Unknown OS")
    return f"Microsoft SignalR/{short[0] if short else '0.0'} ({version}; {system}; Python; {python})"


def installed_version(folders: Iterable[Path]) -> str:
    """Return this package's version, read from the name of its `.dist-info` folder; 0.0.0 if there is no such folder.

    `importlib.metadata` would return the same version, but its import takes as long as connecting to a server.

    Args:
        folders: the folders in which to look for the `.dist-info` folder, such as those in `sys.path`.
    """
    for folder in folders:
        for metadata in folder.glob("signalr_sdk-*.dist-info"):
            return metadata.name.removeprefix("signalr_sdk-").removesuffix(".dist-info")
    return "0.0.0"


USER_AGENT: Final = format_user_agent(
    installed_version((Path(__file__).parents[2], *map(Path, sys.path))),
    sys.platform,
    ".".join(map(str, sys.version_info[:3])),
)
"""The `User-Agent` of this package, in the form of the official clients."""


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks to wait.

    Args:
        value: the header: a number of seconds, or a date.
        now: the current time in seconds since 1970; 0.0 if the time is not known. A time before 2025 means that the
            computer's clock was never set: a date in the header then gives `None`.

    Returns:
        The seconds; at most 3600 if the header holds a date. `None` if there is no header or it cannot be understood.
    """
    value = (value or "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    date = parse_date(value) if now >= _CLOCK_IS_SET else None
    return None if date is None else min(max(0.0, date - now), _LONGEST_WAIT)


def parse_date(text: str) -> float | None:
    """Return the date of an HTTP header such as `Expires`, in seconds since 1970; `None` if the text is no date."""
    found: dict[str, re.Match[str]] = {}
    for token in _DATE_DELIMITERS.split(text):
        for part, pattern in _DATE_PARTS.items():
            if part not in found and (match := pattern.match(token)):
                found[part] = match
                break
    if len(found) < len(_DATE_PARTS):
        return None
    year, month = int(found["year"][1]), _MONTHS.index(found["month"][0].lower()) + 1
    if year < 100:
        year += 2000 if year < 70 else 1900
    hour, minute, second = map(int, found["time"].groups())
    try:
        return datetime(year, month, int(found["day"][1]), hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        return None
