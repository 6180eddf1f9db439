"""The steps of docs/development/releasing.md that a person gets wrong.

python .ci/release.py close 0.2.0         the version is 0.2.0, and the changelog's open section has it and today's date
python .ci/release.py open 0.3.0          the version is 0.3.0.dev0, and the changelog has an open section again
python .ci/release.py check v0.2.0 FILE   the tag, pyproject.toml, the changelog and these files are of one version
python .ci/release.py rehearse            all of it in a clone of the last commit, with a wheel built from the tag
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
OPEN = "## [Unreleased]"
_HEADING = re.compile(r"^## \[(?P<version>.+?)\](?: - (?P<date>\d{4}-\d\d-\d\d))?$", re.MULTILINE)


def version(root: Path) -> str:
    """Return what pyproject.toml says."""
    project: dict[str, str] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["version"]


def newest(changelog: str) -> tuple[str, str | None, str]:
    """Return version, date and text of the first section of the changelog."""
    first, *rest = _HEADING.finditer(changelog)
    return first["version"], first["date"], changelog[first.end() : rest[0].start() if rest else None].strip()


def _write(root: Path, new: str, before: str, after: str) -> None:
    project, changelog = root / "pyproject.toml", root / "CHANGELOG.md"
    text = project.read_text(encoding="utf-8").replace(f'\nversion = "{version(root)}"', f'\nversion = "{new}"', 1)
    project.write_text(text, encoding="utf-8")
    changelog.write_text(changelog.read_text(encoding="utf-8").replace(before, after, 1), encoding="utf-8")


def close(root: Path, new: str) -> None:
    """Make the open section of the changelog that of a version."""
    name, _, text = newest((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    if name != "Unreleased" or not text or text.startswith(("#", "-")):
        raise SystemExit(f"CHANGELOG.md must begin with {OPEN}, and this section with a summary")
    _write(root, new, OPEN, f"## [{new}] - {datetime.now(UTC).date()}")


def open_next(root: Path, new: str) -> None:
    """Begin with the version after a release."""
    heading = f"## [{version(root)}]"
    _write(root, f"{new}.dev0", heading, f"{OPEN}\n\nNothing yet.\n\n{heading}")


def check(root: Path, tag: str, files: list[str]) -> None:
    """Stop with an error unless all is of the version that the tag names."""
    new = tag.removeprefix("v")
    name, date, _ = newest((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    found = {
        "the tag": tag == f"v{new}",
        "pyproject.toml": version(root) == new,
        "CHANGELOG.md": name == new and date is not None,
        **{file: Path(file).name.startswith((f"signalr_sdk-{new}-", f"signalr_sdk-{new}.tar")) for file in files},
    }
    if wrong := [what for what, right in found.items() if not right]:
        raise SystemExit(f"not of version {new}: {', '.join(wrong)}")
    print(f"version {new}:", ", ".join(Path(what).name for what in found))


def rehearse() -> None:
    """Make a release in a clone, which is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        who = ("-c", "user.name=rehearsal", "-c", "user.email=rehearsal@invalid")
        _run("git", "clone", "-q", str(ROOT), str(clone))
        new = version(clone).removesuffix(".dev0")
        close(clone, new)
        _run("git", *who, "commit", "-qam", f"Release {new}", cwd=clone)
        _run("git", *who, "tag", "-a", f"v{new}", "-m", new, cwd=clone)
        open_next(clone, "99")
        _run("git", *who, "commit", "-qam", "Open the next version", cwd=clone)
        _run("git", "switch", "-q", "--detach", f"v{new}", cwd=clone)
        _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", f"{folder}/dist", str(clone))
        check(clone, f"v{new}", [str(path) for path in Path(folder, "dist").iterdir()])


def _run(*command: str, cwd: Path = ROOT) -> None:
    subprocess.run(command, cwd=cwd, check=True)


def main(arguments: list[str]) -> None:
    """Do what the first argument names."""
    match arguments:
        case ["close", new]:
            close(ROOT, new)
        case ["open", new]:
            open_next(ROOT, new)
        case ["check", tag, *files]:
            check(ROOT, tag, files)
        case ["rehearse"]:
            rehearse()
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
