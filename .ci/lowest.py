"""Print pip constraints: the lowest versions that pyproject.toml allows users to have."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

# Extras for work on the project itself: their bounds bind nobody else.
DEVELOPMENT = frozenset({"test", "docs", "lint"})


def constraints(project: dict[str, object]) -> list[str]:
    """Return `name==version` for each dependency; one without a lower bound is an error."""
    extras: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    needs: list[str] = [*project["dependencies"]]  # type: ignore[misc]
    for extra, requirements in extras.items():
        if extra not in DEVELOPMENT:
            needs += requirements
    pins = []
    for need in needs:
        if need.startswith(f"{project['name']}["):
            continue
        found = re.fullmatch(r"([\w.-]+)>=([\w.]+)", need)
        if found is None:
            raise SystemExit(f"pyproject.toml: {need!r} is not of the form name>=version")
        pins.append(f"{found[1]}=={found[2]}")
    return sorted(set(pins))


def main() -> None:
    """Read pyproject.toml and print."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    print("\n".join(constraints(tomllib.loads(text)["project"])))


main()
