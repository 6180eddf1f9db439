"""What the project says about itself agrees: versions, links, and which Pythons and modules it promises."""

from __future__ import annotations

import re
import runpy
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.test_reference import MODULES

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
PAGES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]


@pytest.fixture
def release() -> dict[str, Any]:
    """Return the functions of the program that makes releases."""
    return runpy.run_path(str(ROOT / ".ci" / "release.py"))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert missing == []


def test_each_version_of_the_changelog_begins_with_its_summary() -> None:
    sections = re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1:]
    starts = [section.partition("\n\n")[2] for section in sections]
    assert starts
    assert not [start for start in starts if not start[:1].isalpha()]


def test_the_changelog_begins_with_the_version_of_the_package(release: dict[str, Any]) -> None:
    newest, day, _ = release["newest"](CHANGELOG)
    if PROJECT["version"].endswith(".dev0"):
        assert (newest, day) == ("Unreleased", None)
    else:
        assert newest == PROJECT["version"]
        assert date.fromisoformat(day).year >= 2026


def test_a_release_is_closed_checked_and_followed_by_the_next(release: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0.dev0"\n', encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n\nMore.\n\n## [1.1.0] - 2026-01-01\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"not of version 1\.2\.0: pyproject\.toml, CHANGELOG\.md$"):
        release["check"](tmp_path, "v1.2.0", [])
    release["close"](tmp_path, "1.2.0")
    release["check"](tmp_path, "v1.2.0", ["dist/signalr_sdk-1.2.0.tar.gz", "dist/signalr_sdk-1.2.0-py3-none-any.whl"])
    with pytest.raises(SystemExit, match=r"signalr_sdk-1\.2\.0\.dev0"):
        release["check"](tmp_path, "v1.2.0", ["signalr_sdk-1.2.0.dev0-py3-none-any.whl"])
    with pytest.raises(SystemExit, match="must begin with"):
        release["close"](tmp_path, "1.3.0")
    release["open_next"](tmp_path, "1.3.0")
    assert release["version"](tmp_path) == "1.3.0.dev0"
    assert release["newest"]((tmp_path / "CHANGELOG.md").read_text(encoding="utf-8")) == (
        "Unreleased",
        None,
        "Nothing yet.",
    )


def test_the_versions_of_python_are_the_same_everywhere() -> None:
    named = "\n".join(PROJECT["classifiers"])
    versions = re.findall(r":: (3\.\d+)$", named, re.MULTILINE)
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    policy = (ROOT / "docs" / "support.md").read_text(encoding="utf-8")
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert set(re.findall(r'"(3\.\d+)"', workflow)) == set(versions)
    assert re.findall(r"^\| (3\.\d+) \|", policy, re.MULTILINE) == versions


def test_the_policy_names_the_public_modules() -> None:
    policy = (ROOT / "docs" / "support.md").read_text(encoding="utf-8")
    (promised,) = re.findall(r"^\| the names in `__all__` of (.+?) \|", policy, re.MULTILINE)
    names = [name.removeprefix("signalr_sdk.") for name in MODULES]
    assert re.findall(r"`(\w+)`", promised) == names
