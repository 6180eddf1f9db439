"""Checks of arguments that outboxes and feeds have."""

from __future__ import annotations

import math


def checked_seconds(name: str, value: object) -> float:
    """Return an argument that is a number of seconds from 0 on.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a number of seconds from 0 on, not {value!r}")
    return float(value)


def checked_count(name: str, value: object) -> int:
    """Return an argument that is a positive integer.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer, not {value!r}")
    return value
