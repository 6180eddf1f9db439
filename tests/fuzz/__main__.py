"""`python -m tests.fuzz`: the long run. See README.md."""

from __future__ import annotations

import argparse
import importlib.util
import re
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .runner import Runner, run_for
from .targets import CORPUS, TARGETS

_EXECUTED = re.compile(r"stat::number_of_executed_units:\s+([0-9]+)")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Every parser, and inputs nearly right.")
    parser.add_argument("--minutes", type=float, default=30.0, help="for all parsers together (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="of the first inputs (default: random)")
    parser.add_argument("--only", choices=TARGETS, action="append", help="this parser; repeatable (default: all)")
    parser.add_argument("--plain", action="store_true", help="without atheris, also where it is installed")
    parser.add_argument("--input", type=Path, help="run this one input of the parser that --only names")
    parser.add_argument("--folder", type=Path, help="where broken inputs are written to (default: a temporary folder)")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run; return the exit status: 0, or 1 if something is broken."""
    options = parse(arguments)
    names = options.only or list(TARGETS)
    if options.input is not None:
        Runner(TARGETS[names[0]], timed=True).run(options.input.read_bytes())
        say(f"{names[0]}: nothing is broken")
        return 0
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    folder = options.folder or Path(tempfile.mkdtemp(prefix="signalr-sdk-fuzz-"))
    guided = importlib.util.find_spec("atheris") is not None and not options.plain
    seconds = 60 * options.minutes / len(names)
    total = broken = 0
    say(f"{'with' if guided else 'without'} atheris, seed {seed}, {seconds:.0f} s for each of {len(names)} parsers")
    for name in names:
        began = time.monotonic()
        if guided:
            count, failed, note = run_guided(name, seconds, seed, folder)
        else:
            runner, failed = run_for(TARGETS[name], seconds, seed, folder)
            count, note = runner.count, f", at most {runner.slowest[0]:.1f} ms for each KB"
        total, broken = total + count, broken + failed
        each = 1e6 * (time.monotonic() - began) / max(count, 1)
        say(f"{name}: {count} inputs, {each:.0f} us each, {failed} broken{note}")
    say(f"{total} inputs, {broken} broken")
    return 1 if broken else 0


def run_guided(name: str, seconds: float, seed: int, folder: Path) -> tuple[int, int, str]:
    """Run atheris in a process of its own; return the number of inputs, of broken ones, and a note."""
    found = folder / f"corpus-{name}"
    found.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.guided", name]
    limits = [
        f"-max_total_time={seconds:.0f}",
        f"-seed={seed + 1}",
        "-max_len=8192",
        "-timeout=60",
        "-rss_limit_mb=2048",
    ]
    places = ["-print_final_stats=1", f"-artifact_prefix={folder}/{name}-", str(found), str(CORPUS / name)]
    done = subprocess.run([*command, *limits, *places], capture_output=True, text=True, errors="replace", check=False)
    executed = _EXECUTED.search(done.stderr)
    if done.returncode:
        say(done.stdout[-3000:])
        say(done.stderr[-3000:])
    inputs = len(list(found.iterdir()))
    return int(executed[1]) if executed else 0, int(done.returncode != 0), f", {inputs} inputs reach new code"


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
