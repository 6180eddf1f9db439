"""Run by the Python of an environment that holds nothing but the wheel and what it depends on."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import signalr_sdk

# What imports an extra when it is imported itself.
NEEDS_EXTRA = (
    "signalr_sdk.cli.", "signalr_sdk.testing.", "signalr_sdk.azure.", "signalr_sdk.fleet",
    "signalr_sdk._http.httpx_client",
)  # fmt: skip


def check_imports() -> None:
    """Import the package, all its modules and all its public names."""
    missing = [name for name in signalr_sdk.__all__ if not hasattr(signalr_sdk, name)]
    assert not missing, missing
    for module in pkgutil.walk_packages(signalr_sdk.__path__, "signalr_sdk."):
        if not module.name.startswith(NEEDS_EXTRA):
            importlib.import_module(module.name)


def check_contents() -> None:
    """The wheel says that it is typed, and its version and license are those of pyproject.toml."""
    assert importlib.resources.files("signalr_sdk").joinpath("py.typed").is_file()
    assert "site-packages" in signalr_sdk.__file__, signalr_sdk.__file__
    project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = importlib.metadata.metadata("signalr-sdk")
    assert metadata["Version"] == project["version"], metadata["Version"]
    assert metadata["License-Expression"] == project["license"], metadata["License-Expression"]
    print("version", metadata["Version"])


def check_command() -> None:
    """Without its extra the command says what to install, and no more."""
    command = Path(sys.executable).with_name("signalr")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2, done
    assert done.stdout == "", done
    assert "signalr-sdk[cli]" in done.stderr, done
    assert done.stderr.count("\n") == 1, done


check_contents()
check_imports()
check_command()
