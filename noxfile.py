"""The steps of the gate, each a nox session: `nox -l` lists them, `nox -s debug` runs one, `.ci/run` runs the gate.

Most sessions share one environment. The others try an installation, another Python or other versions.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nox
from filelock import FileLock  # of virtualenv, which nox needs

if TYPE_CHECKING:
    from collections.abc import Iterator

nox.needs_version = ">=2025.2.9"
nox.options.download_python = "never"
nox.options.sessions = ["lint", "tests"]

ROOT = Path(__file__).parent
SHARED = ROOT / ".nox" / "shared"
BIN = SHARED / ("Scripts" if sys.platform == "win32" else "bin")

CODE = ("sdk", "tests", "examples", ".ci", "docs/conf.py", "noxfile.py")
TYPED = ("sdk", "tests", "examples", "noxfile.py")
# Tests without an event loop, in a few seconds.
PURE = ("tests/core", "tests/protocols", "tests/typed", "tests/test_retry.py")
# Tests of what leans on the event loop.
SCHEDULED = (
    *PURE,
    "tests/guard",
    "tests/sending",
    "tests/life/test_found.py",
    "tests/life/test_interleavings.py",
    "tests/life/test_users_code.py",
    "tests/hub/test_hub_connection.py",
)
# Tests of what reaches for the transports and timers of the event loop.
LOOPS_TRANSPORTS = (
    "tests/testing/test_faults.py",
    "tests/testing/test_stateful_reconnect.py",
    "tests/transports/test_web_sockets.py",
)
# Tests of what leans on aiohttp, httpx and tenacity.
LEANING = (
    "tests/http",
    "tests/transports",
    "tests/connecting",
    "tests/sending",
    "tests/hub/test_hub_connection.py",
)
# What is pure in signalr_sdk.azure.
AZURE = ("rest_responses", "connection_string", "names", "payloads", "tokens", "upstream")
# What is pure in signalr_sdk.classic.
CLASSIC = (
    "cursors",
    "envelopes",
    "hub_messages",
    "hubs_script",
    "json_codec",
    "negotiation",
    "request_urls",
    "session",
    "silence",
)
# Modules of which every branch is tested.
COVERED = (
    "sdk/signalr_sdk/_core/*",
    "sdk/signalr_sdk/protocols/*",
    *(f"sdk/signalr_sdk/azure/{name}.py" for name in AZURE),
    *(f"sdk/signalr_sdk/classic/{name}.py" for name in CLASSIC),
)


def pythons() -> list[str]:
    """Return the versions from 3.11 on that this machine has, the newest last."""
    if shutil.which("pyenv"):
        # pyenv's commands find only the versions that this variable names; the first of them is `python3`.
        names = [*_said("pyenv", "version-name"), *reversed(_said("pyenv", "versions", "--bare"))]
        os.environ["PYENV_VERSION"] = ":".join(names)
    versions = [f"3.{minor}" for minor in range(11, 20)]
    return [version for version in versions if version == _own() or _runs(f"python{version}")]


def _own() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _said(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def _runs(command: str) -> bool:
    found = shutil.which(command)
    return found is not None and subprocess.run([found, "-V"], capture_output=True, check=False).returncode == 0


PYTHONS = pythons()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder that lies far from the repository."""
    with tempfile.TemporaryDirectory(prefix="signalr-sdk-") as name:
        yield Path(name)


def readme_command(comment: str) -> str:
    """Return the command in README.md that an HTML comment with this text stands before."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^<!-- {comment}.*-->\n```sh\n(.*)\n```$", text, re.MULTILINE)
    assert found is not None, f"README.md has no command after <!-- {comment} -->"
    return found[1]


def enter_shared(session: nox.Session) -> None:
    """Run this session's commands in the shared environment; make that anew if pyproject.toml has changed since.

    Sessions may run side by side: one makes the environment, the others wait.
    """
    wanted = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    made = SHARED / "pyproject.toml"
    SHARED.mkdir(parents=True, exist_ok=True)
    with FileLock(SHARED.with_suffix(".lock")):
        if not made.exists() or made.read_text(encoding="utf-8") != wanted:
            session.run(sys.executable, "-m", "venv", "--clear", str(SHARED))
            packages = ("-e", ".[test,lint,docs]", "uvloop; sys_platform != 'win32'")
            session.run(f"{BIN}/python", "-m", "pip", "install", "-q", *packages)
            made.write_text(wanted, encoding="utf-8")
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"


# What is right


@nox.session
def tests(session: nox.Session) -> None:
    """README's test command, word for word, and the floors of coverage."""
    for left in ROOT.glob(".coverage.*"):
        left.unlink()
    session.run("bash", "-c", readme_command("the tests"), external=True)
    coverage = f"{ROOT}/.venv/bin/coverage"
    session.run(coverage, "combine", "-q", external=True)
    session.run(coverage, "report", f"--include={','.join(COVERED)}", "--fail-under=100", external=True)
    session.run(coverage, "report", "--fail-under=95", external=True)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Format, ruff's rules, types, and the types that users see."""
    enter_shared(session)
    session.run("ruff", "format", "--check", *CODE)
    session.run("ruff", "check", *CODE)
    session.run("mypy", *TYPED)
    session.run("pyright", "--verifytypes", "signalr_sdk", "--ignoreexternal")


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The documents, where a warning is an error, and the examples in them."""
    enter_shared(session)
    with temporary_folder() as folder:
        for builder in ("html", "doctest"):
            options = ("-W", "--keep-going", "-q", "-b", builder)
            session.run("python", "-m", "sphinx", *options, "docs", str(folder / builder))


@nox.session(venv_backend="none")
def examples(session: nox.Session) -> None:
    """The programs in examples/, each as a process, against the test server and ASP.NET Core."""
    enter_shared(session)
    session.run("python", ".ci/examples.py")


# What a stranger has


@nox.session(python=PYTHONS[-1])
def alone(session: nox.Session) -> None:
    """README's two commands in a clone with nothing beside it, on the newest Python. A clone has what is committed."""
    # The floors of coverage are not looked at here: without its settings, coverage leaves the tests' processes alone.
    apart = {"CI": None, "NODE_PATH": None, "SIGNALR_INTEROP_SERVER": None, "COVERAGE_RCFILE": os.devnull}
    with temporary_folder() as folder:
        session.run("git", "clone", "-q", str(ROOT), str(folder / "clone"), external=True)
        with session.chdir(folder / "clone"):
            for comment in ("the main job", "the tests"):
                session.run("bash", "-c", readme_command(comment), external=True, env=apart)


@nox.session
def sdist(session: nox.Session) -> None:
    """Pure tests in a source distribution, installed from there, without orjson and cattrs, which are optional."""
    session.install("build")
    with temporary_folder() as folder:
        session.run("python", "-m", "build", "--sdist", "--outdir", str(folder), silent=True)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        with session.chdir(folder / archive.name.removesuffix(".tar.gz")):
            session.install(".[test]")
            session.run("python", "-m", "pip", "uninstall", "-q", "-y", "orjson", "cattrs")
            session.run("python", "-m", "pytest", "-q", "--may-skip", *PURE)


@nox.session
def wheel(session: nox.Session) -> None:
    """The wheel in an environment of its own: its modules, its command, and a user's project with its fixtures."""
    page = (ROOT / "docs" / "how-to" / "test-your-bot.md").read_text(encoding="utf-8")
    with temporary_folder() as folder:
        session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), ".")
        (built,) = folder.glob("*.whl")
        session.install(str(built))
        check = ROOT / ".ci" / "check_wheel.py"
        with session.chdir(folder):
            session.run("python", "-I", "-W", "error", str(check))
            session.install("pytest")
            programs = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
            (folder / "test_bot.py").write_text("".join(programs), encoding="utf-8")
            session.run("python", "-I", "-m", "pytest", "-q", "-W", "error")


@nox.session
def release(session: nox.Session) -> None:
    """A release in a clone of the last commit: closed, tagged, built from the tag, and of the right version."""
    session.run("python", ".ci/release.py", "rehearse")


@nox.session
def workflows(session: nox.Session) -> None:
    """The files for the code host, Read the Docs, pre-commit, Compose and Kubernetes: schemas and zizmor, offline."""
    session.install("check-jsonschema>=0.37", "kubernetes-validate>=1.31", "pre-commit>=4", "zizmor>=1.20")
    for schema, pattern in {
        "dependabot": "dependabot.yml",
        "github-issue-config": "ISSUE_TEMPLATE/config.yml",
        "github-issue-forms": "ISSUE_TEMPLATE/[!c]*.yml",
        "github-workflows": "workflows/*.yml",
        "readthedocs": "../.readthedocs.yaml",
    }.items():
        files = [str(path) for path in sorted((ROOT / ".github").glob(pattern))]
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    fleet = ROOT / "examples" / "fleet"
    session.run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(fleet / "compose.yaml"))
    session.run("kubernetes-validate", "--strict", str(fleet / "kubernetes.yaml"))
    session.run("pre-commit", "validate-config")
    session.run("zizmor", "--offline", ".github")


# Other event loops, other versions of what it needs


@nox.session(venv_backend="none")
def debug(session: nox.Session) -> None:
    """Tests in asyncio's debug mode; `nox -s debug -- tests` runs all."""
    enter_shared(session)
    command = ("python", "-m", "pytest", "-q")
    session.run(*command, *(session.posargs or SCHEDULED), env={"PYTHONASYNCIODEBUG": "1"})


@nox.session(venv_backend="none")
def uvloop(session: nox.Session) -> None:
    """Tests on uvloop; `nox -s uvloop -- tests` runs all."""
    enter_shared(session)
    session.run("python", ".ci/scheduler.py", "uvloop", "-q", *(session.posargs or (*SCHEDULED, *LOOPS_TRANSPORTS)))


@nox.session(python=PYTHONS[-1])
def eager(session: nox.Session) -> None:
    """Tests with `asyncio.eager_task_factory`; `nox -s eager -- tests` runs all."""
    session.install("-e", ".[test]")
    session.run("python", ".ci/scheduler.py", "eager", "-q", *(session.posargs or SCHEDULED))


@nox.session
def lowest(session: nox.Session) -> None:
    """Tests with the lowest versions that pyproject.toml allows."""
    with temporary_folder() as folder:
        pins = session.run("python", ".ci/lowest.py", silent=True)
        (folder / "pins.txt").write_text(str(pins), encoding="utf-8")
        session.log(str(pins))
        session.install("-e", ".[test]", "-c", str(folder / "pins.txt"))
    session.run("python", "-m", "pytest", "-q", "--may-skip", *PURE, *LEANING)


# Hunts with fixed seeds; each runs longer, with fresh seeds, when its options say so


@nox.session(venv_backend="none")
def users(session: nox.Session) -> None:
    """Users' code that does every wrong thing, for 20 s; `nox -s users -- --rounds 20000` runs longer."""
    enter_shared(session)
    fixed = (["--seed", "1", "--seconds", "14"], ["--seed", "1", "--seconds", "6", "--threads"])
    for options in [session.posargs] if session.posargs else fixed:
        session.run("python", "-m", "tests.users", *options)


@nox.session(venv_backend="none")
def simulation(session: nox.Session) -> None:
    """Plays on a simulated network, for 20 s; `nox -s simulation -- --seconds 600` plays fresh seeds for longer."""
    enter_shared(session)
    fixed = (
        ["--seed", "1", "--seconds", "10"],
        ["--seed", "1", "--seconds", "6", "--seams", "--faults", "100"],
        ["--seed", "1", "--seconds", "4", "--threads"],
    )
    for options in [session.posargs] if session.posargs else fixed:
        session.run("python", "-m", "tests.simulation", *options)


# What takes long


@nox.session(venv_backend="none")
def slow(session: nox.Session) -> None:
    """Tests that wait long, side by side."""
    enter_shared(session)
    session.run("python", "-m", "pytest", "-q", "-m", "slow", "-n", "4")


@nox.session(python=PYTHONS)
def whole(session: nox.Session) -> None:
    """All tests, the slow ones too, on each Python that this machine has."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-q", "-m", "slow or not slow", *session.posargs)


@nox.session(venv_backend="none")
def faults(session: nox.Session) -> None:
    """The fault suite with fresh seeds, for half an hour or as its own options say: `nox -s faults -- --minutes 5`."""
    enter_shared(session)
    session.run("python", "-m", "tests.faults", *session.posargs)


@nox.session(venv_backend="none")
def lab(session: nox.Session) -> None:
    """All faults of real networks, in namespaces; `nox -s lab -- --seconds 60 --seed 1` is the part for the gate."""
    enter_shared(session)
    session.run("python", "-m", "tests.faults.lab", *session.posargs)


@nox.session(venv_backend="none")
def kills(session: nox.Session) -> None:
    """Kills of putters, deliverers and servers, 250 on each hub with each protocol, or as the options say."""
    enter_shared(session)
    all_four = [(path, protocol) for path in ("/ledger", "/ledger-parallel") for protocol in ("json", "messagepack")]
    fixed = [["250", "--path", path, "--protocol", protocol] for path, protocol in all_four]
    for options in [session.posargs] if session.posargs else fixed:
        session.run("python", "-m", "tests.delivery.kills", *options)


@nox.session(venv_backend="none")
def hunt(session: nox.Session) -> None:
    """Plays on a simulated network with fresh seeds, for ten minutes or as their own options say."""
    enter_shared(session)
    fresh = (
        ["--seconds", "350"],
        ["--seconds", "150", "--seams", "--faults", "100"],
        ["--seconds", "100", "--threads"],
    )
    for options in [session.posargs] if session.posargs else fresh:
        session.run("python", "-m", "tests.simulation", *options)


@nox.session(venv_backend="none")
def full(session: nox.Session) -> None:
    """All that is too long for the gate; it takes hours."""
    for version in PYTHONS:
        session.notify(f"whole-{version}")
    for name in ("debug", "uvloop", "eager"):
        session.notify(name, posargs=["tests"])
    session.notify("users", posargs=["--rounds", "20000"])
    session.notify("faults")
    session.notify("hunt")
    session.notify("kills")
    session.notify("lab")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzzing with fresh seeds, for half an hour or as its own options say: `nox -s fuzz -- --minutes 60`."""
    session.install("-e", ".[test]")
    # atheris looks for inputs that reach new code. It does not exist for every Python: fuzzing goes on without.
    session.run("python", "-m", "pip", "install", "-q", "atheris", success_codes=[0, 1])
    session.run("python", "-m", "tests.fuzz", *session.posargs)
