"""`python -m tests.users --rounds 20000 --seed 1`: many rounds, until one of them breaks something."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import secrets
import sys
import time
import traceback
from collections import Counter

from . import threads, world


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Play rounds; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.users", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no round begins later")
    parser.add_argument("--seed", type=int, help="of the first round; each round has the next one (default: random)")
    parser.add_argument("--go-on", action="store_true", help="also after a failure: print one line for each")
    parser.add_argument("--threads", action="store_true", help="the thread facade, in real time")
    options = parser.parse_args(arguments)
    first = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    logging.getLogger("signalr_sdk").propagate = False
    logging.getLogger("signalr_sdk").setLevel(logging.INFO)
    play = threads.play if options.threads else world.play
    began, counts, broken, rounds = time.monotonic(), Counter[str](), 0, 0
    for seed in range(first, first + options.rounds):
        if time.monotonic() - began > options.seconds:
            break
        rounds += 1
        faulthandler.dump_traceback_later(60, exit=True)
        try:
            counts.update(play(seed).chance.counts)
        except BaseException as error:  # noqa: BLE001 - also Ctrl-C: what was done so far is told
            broken += 1
            if not options.go_on:
                traceback.print_exc()
                _say(f"FAILED: --seed {seed} --rounds 1")
                return 1
            _say(f"FAILED: --seed {seed}: {type(error).__name__} {str(error)[:200]}")
    faulthandler.cancel_dump_traceback_later()
    _say(f"{rounds} rounds from seed {first} in {time.monotonic() - began:.0f} s, {broken} broken")
    _say(f"{sum(counts.values())} wrong things, {len(counts)} kinds; the rarest: {counts.most_common()[-3:]}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
