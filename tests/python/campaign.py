"""Random calls of the library against the oracles: one number, the seed, draws everything about a call.

    python tests/python/campaign.py --part loss --first 0 --count 1000

Every draw asks for the same answer from several contexts (threads, instruction sets, with and without
statistics and so with and without skipping), which must be the same bits, and for the oracle's within
bounds of rounding. A failure prints its seed and what differs; the seed makes the call again.
"""

import argparse
import sys
import time
import traceback

import campaign_loss
import campaign_prune
import campaign_search
from campaign_rows import Contexts, Failure

PARTS = {"loss": campaign_loss.check_loss, **campaign_prune.PARTS, **campaign_search.PARTS}


def campaign(part, first, count, seconds=None, large=True, log=None):
    """Failing seeds with their messages, and how often each outcome came."""
    check = PARTS[part]
    contexts, failures, outcomes, most = Contexts(), [], {}, [0.0, 0.0]
    stop = time.monotonic() + seconds if seconds else None
    for seed in range(first, first + count):
        if stop and time.monotonic() > stop:
            break
        try:
            outcome, value, gradient = check(seed, contexts, large)
            if value > most[0] or gradient > most[1]:
                most = [max(most[0], value), max(most[1], gradient)]
                if log and max(value, gradient) > 0.3:
                    print(f"{part} {seed}: {value:.2f} {gradient:.2f} of the bounds", file=log, flush=True)
        except Exception as error:  # noqa: BLE001: any failure of a draw is a finding
            outcome = "failed"
            text = str(error) if isinstance(error, Failure) else traceback.format_exc()
            failures.append((seed, text))
            if log:
                where = f" {campaign_loss.described(seed, contexts, large)}" if part == "loss" else ""
                print(f"{part} {seed}{where}: {text}", file=log, flush=True)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return failures, outcomes, most


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=sorted(PARTS), default="loss")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10**9)
    parser.add_argument("--seconds", type=float)
    arguments = parser.parse_args()
    failures, outcomes, most = campaign(arguments.part, arguments.first, arguments.count,
                                        arguments.seconds, log=sys.stdout)
    print(outcomes, most)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
