"""The table at the end: faults by kinds of connections."""

from __future__ import annotations

from typing import Final

import attrs

_TITLE: Final = "fault"
_LEGEND: Final = (
    "Each place: seconds until the client noticed the loss of its connection (- if there was no loss), calls from this "
    "fault to the next one / calls of them that failed."
)


@attrs.frozen
class Row:
    """What came of one fault on one kind of connection. `play.Outcome` says what the attributes are."""

    connection: str
    fault: str
    noticed: float | None
    calls: int
    failed: int
    violation: str | None

    def __str__(self) -> str:
        noticed = "no loss" if self.noticed is None else f"loss noticed after {self.noticed:.1f} s"
        broken = "" if self.violation is None else f"; VIOLATION: {self.violation}"
        return f"{self.connection}: {self.fault}: {noticed}, {self.calls} calls, {self.failed} failed{broken}"


def table(rows: list[Row]) -> str:
    """Return the table, a line for each fault. If a fault has come several times, the slowest notice is shown."""
    connections = list(dict.fromkeys(row.connection for row in sorted(rows, key=lambda row: row.connection)))
    faults = sorted({row.fault for row in rows})
    lines = [[_TITLE, *connections, "violations"]]
    for fault in faults:
        here = [row for row in rows if row.fault == fault]
        places = [_place([row for row in here if row.connection == connection]) for connection in connections]
        lines.append([fault, *places, str(_violations(here))])
    lines.append(["all", *(_total([row for row in rows if row.connection == each]) for each in connections)])
    lines[-1].append(str(_violations(rows)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(place.ljust(width) for place, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*text, _LEGEND])


def _place(rows: list[Row]) -> str:
    if not rows:
        return ""
    noticed = max((row.noticed for row in rows if row.noticed is not None), default=None)
    return f"{'-' if noticed is None else f'{noticed:.1f} s'} {_total(rows)}"


def _total(rows: list[Row]) -> str:
    return f"{sum(row.calls for row in rows)}/{sum(row.failed for row in rows)}"


def _violations(rows: list[Row]) -> int:
    return sum(row.violation is not None for row in rows)
