"""Small studies through the command line, faults from outside, and what they cost; seeded.

Each study is killed, damaged and resumed until it is done; then its tables must equal those of the
undisturbed study, every rung that was recorded before a fault must still be, with its numbers, and
nothing may stand still for three minutes.

    python scripts/chaos.py --kills 100 [--seed 0] [--only driver,slot] [--markdown]

*rungs lost*: recorded before the fault and absent or different afterwards. *steps redone*: updates
made a second time, counted exactly in every process (see faults/counting); between two checkpoints
that is what a kill costs. *survived*: exit code and last words were right, and it went on. Exits
with 1 if a fault was not survived, a rung lost, a table different, or anything hung.
"""

import argparse
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from faults.account import Wound, rows_of, table_lines
from faults.campaign import Campaign
from faults.kinds import KINDS, plan_sessions, share_out
from faults.processes import adopt_orphans
from faults.study import SIZES
from faults.turns import Turns

COUNTING = Path(__file__).resolve().parent / "faults" / "counting"


def main() -> int:
    """Run the campaign that the command line asks for; the exit code."""
    asked = _arguments().parse_args()
    only = tuple(asked.only.split(",")) if asked.only else ()
    if strange := set(only) - set(KINDS):
        raise SystemExit(f"--only: must name kinds of {list(KINDS)}, but got {sorted(strange)}")
    logging.basicConfig(format="[%(relativeCreated)8d ms] %(message)s", stream=sys.stderr)
    logging.getLogger("chaos").setLevel(logging.INFO)
    work = Path(tempfile.mkdtemp(prefix="chaos-", dir=asked.work))
    updates = _prepare_environment(work)
    adopt_orphans()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    began = time.monotonic()
    campaign = Campaign(work, updates, Turns(asked.lock), seed=asked.seed, size=asked.study)
    try:
        if not only or {"nan", "oom"} & set(only):
            campaign.undisturbed("plain")
        for session in plan_sessions(share_out(asked.kills, only), asked.seed):
            try:
                campaign.carry_out(session)
            except Exception:
                campaign.give_up(traceback.format_exc())
        campaign.finish()
    finally:
        campaign.close()
        if not asked.keep:
            shutil.rmtree(work, ignore_errors=True)
    good = _tell(campaign.wounds, campaign.problems, markdown=asked.markdown)
    print(f"{len(campaign.wounds)} faults, {(time.monotonic() - began) / 60:.1f} min")
    return 0 if good else 1


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=0, help="faults in all; at least one a kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help=f"kinds, separated by commas: {', '.join(KINDS)}")
    parser.add_argument("--study", choices=list(SIZES), default="full", help="its size")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--lock", type=Path, help="a file to hold locked while Ray runs")
    parser.add_argument("--work", type=Path, help="where studies lie meanwhile; a short path")
    parser.add_argument("--keep", action="store_true", help="leave the studies there")
    return parser


def _prepare_environment(work: Path) -> Path:
    """Every process started from here on counts its updates, leaving all files in ``work``."""
    updates = work / "updates.txt"
    paths = [str(COUNTING), *filter(None, [os.environ.get("PYTHONPATH")])]
    (work / "tmp").mkdir()
    os.environ.pop("RAY_ADDRESS", None)
    os.environ |= {
        "CHAOS_UPDATES": str(updates),
        "PYTHONPATH": os.pathsep.join(paths),
        "RETHINK_RAY_CACHE": str(work / "cache"),
        "RAY_TMPDIR": str(work),
        "TMPDIR": str(work / "tmp"),
        "OMP_NUM_THREADS": "1",
    }
    return updates


def _tell(wounds: list[Wound], problems: list[str], *, markdown: bool) -> bool:
    """Print the table and everything that went wrong; True if nothing did."""
    rows = rows_of(wounds)
    for line in table_lines(rows, markdown=markdown):
        print(line)
    for wound in wounds:
        for problem in wound.problems:
            print(f"{wound.case}: {wound.kind} ({wound.told}): {problem}")
    for problem in problems:
        print(problem)
    return all(row.good for row in rows) and not problems


if __name__ == "__main__":
    sys.exit(main())
