"""`python -m tests.simulation --seconds 20`: many plays, until one of them breaks an invariant. See README.md."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import secrets
import sys
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.invariants import BrokenError

from .defects import DEFECTS
from .plays import KINDS, SEAM_KINDS, THREAD_KINDS, Play
from .shrinking import Shrinking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .plays import Kind, Outcome

FAULTS = 20
ALL_KINDS = KINDS + SEAM_KINDS + THREAD_KINDS
_HANGS = 600  # seconds of real time after which a play hangs, also on a busy machine


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Plays on a simulated network.")
    parser.add_argument("--seed", type=int, help="of the first round; each round has the next one (default: random)")
    parser.add_argument("--rounds", type=int, default=10**9, help="how many rounds; a round has all kinds")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no play begins later")
    parser.add_argument("--kind", choices=[*map(str, ALL_KINDS)], help="only this kind of connection")
    parser.add_argument("--seams", action="store_true", help="below the seams, without HTTP: WebSockets, much faster")
    parser.add_argument("--threads", action="store_true", help="with the connection of signalr_sdk.sync")
    parser.add_argument("--faults", type=int, default=FAULTS, help="in each play (default: %(default)s)")
    parser.add_argument("--keep", help="the numbers of the faults that happen, with commas between (default: all)")
    parser.add_argument("--defect", choices=[*DEFECTS], help="play with a deliberate defect, which must be found")
    parser.add_argument("--trace", type=Path, help="a file for what the network carries: one line for each segment")
    parser.add_argument("--fingerprints", action="store_true", help="print the fingerprint of each play")
    parser.add_argument("--first", action="store_true", help="end at the first failure, without shrinking")
    parser.add_argument("--go-on", action="store_true", help="also after a failure: print one line for each")
    return parser.parse_args(arguments)


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def plays(options: argparse.Namespace) -> Iterator[Play]:
    """Yield the plays that the options ask for."""
    first = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    until = time.monotonic() + options.seconds
    kinds: list[Kind] = SEAM_KINDS if options.seams else THREAD_KINDS if options.threads else KINDS
    if options.kind is not None:
        kinds = [kind for kind in ALL_KINDS if str(kind) == options.kind]
    elif options.defect is not None:
        defect = DEFECTS[options.defect]
        kinds = [*filter(defect.shows_in, kinds)] or [*filter(defect.shows_in, ALL_KINDS)]
    for seed, kind in ((seed, kind) for seed in range(first, first + options.rounds) for kind in kinds):
        if time.monotonic() > until:
            return
        play = Play.by_seed(kind, seed, options.faults)
        yield play.keep([int(number) for number in options.keep.split(",")]) if options.keep else play


def name(play: Play, faults: int, kept: list[int] | None = None) -> str:
    """Return the options that repeat a play."""
    keep = "" if kept is None else f" --keep {','.join(map(str, kept))}"
    return f"--seed {play.seed} --kind {play.kind} --faults {faults}{keep} --rounds 1"


def tell(play: Play, outcome: Outcome, faults: int) -> None:
    """Print a failure, then the shortest schedule that still fails."""
    say(f"FAILED: {name(play, faults)}")
    say(f"  {outcome.error}")
    shrinking = Shrinking(play, outcome)
    shrinking.shrink()
    shortest = shrinking.outcome
    say(f"The shortest schedule, after {shrinking.attempts} plays: {name(play, faults, shrinking.kept)}")
    for number, fault in zip(shrinking.kept, shrinking.play.faults, strict=True):
        say(f"  {number}. {fault}")
    assert shortest.error is not None
    if isinstance(shortest.error, BrokenError):
        say("\n".join([f"  {shortest.error}", *getattr(shortest.error, "__notes__", [])]))
    else:
        say("".join(traceback.format_exception(shortest.error)))


def main(arguments: list[str]) -> int:
    """Run plays; return the exit status."""
    options = parse(arguments)
    logging.disable(logging.WARNING)  # lost connections are expected here
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        os.environ.pop(variable, None)
    counts: Counter[str] = Counter()
    simulated = seconds = 0.0
    broken = 0
    began = time.monotonic()
    with ExitStack() as stack:
        if options.defect is not None:
            stack.enter_context(DEFECTS[options.defect].made())
        trace: Callable[[str], object] | None = None
        if options.trace is not None:
            trace = stack.enter_context(options.trace.open("w", encoding="utf-8")).write
        for play in plays(options):
            faulthandler.dump_traceback_later(_HANGS, exit=True)
            outcome = play.run(trace)
            faulthandler.cancel_dump_traceback_later()
            counts += outcome.counts
            counts["plays"] += 1
            simulated += outcome.simulated
            seconds += outcome.seconds
            if options.fingerprints:
                say(f"{play.seed} {play.kind} {outcome.fingerprint}")
            if outcome.error is not None:
                broken += 1
                if not options.go_on and not options.first:
                    tell(play, outcome, options.faults)
                    return 1
                say(f"FAILED: {name(play, options.faults)}: {str(outcome.error)[:200]}")
                if options.first:
                    say(f"found after {counts['faults']} faults, in {seconds:.1f} s of the processor")
                    return 1
    say(", ".join(f"{counts[key]} {key}" for key in sorted(counts)))
    say(
        f"{counts['plays']} plays with {counts['faults']} faults in {time.monotonic() - began:.0f} s "
        f"({counts['faults'] / max(seconds, 1e-9):.0f} faults in a second of the processor), "
        f"{simulated / 3600:.1f} simulated hours, {broken} broken"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
