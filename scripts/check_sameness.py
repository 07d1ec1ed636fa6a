"""Compares the tables of two small studies with kept ones, digit for digit.

    python scripts/check_sameness.py --write     # before: runs both, keeps their tables as JSON
    python scripts/check_sameness.py             # after: runs both again and lists what differs

For changes of structure. ``searches.yaml`` has repeated searches, drawn subsets, a student and
twins; ``ladders.yaml`` has converged ladders and an audit. Exit code 1 if a value differs. Numbers
repeat on one CPU instruction set and one torch build; the tables say which they are of.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from rethink_ray import read_study
from rethink_ray.protocol.columns import MACHINE_COLUMNS

FOLDER = Path(__file__).parent / "sameness"
STUDIES = ("searches", "ladders")
NAMED_BY_CONTENT = ("trial_id", "of", "assets", "key")
"""Columns of ids: compared up to their names (first seen, first numbered) under ``--any-ids``."""
RENAMED: dict[str, str] = {}
"""Column before -> column now, where a name was changed on purpose."""
RENAMED_FINDINGS: dict[str, str] = {
    "images": "num_images",
    "arms": "cells",
    "init": "source",
    "curve": "points",
    "one_configuration_curve": "one_configuration",
    "shortest_within_margin": "shortest_within",
    "search_states": "states",
    "p_corrected": "p_adjusted",
    "halving": "halving_cost",
    "costs": "cost",
}
"""Key of findings before -> key now: schema 2 of findings.json names keys after fields."""
OTHER_SHAPE = ("schema_version", "goal", "cost", "method_costs", "searches")
"""Keys of findings whose values have another shape in schema 2, so that they are not compared."""
UNSTEADY = ("hours", "seconds", "bytes", "memory", "at", "front")
"""Keys of findings that hold a machine's times and memory, or follow from them."""


def main() -> int:
    """The tables are kept, or compared with those that are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", default=STUDIES, help="searches, ladders; or both")
    parser.add_argument("--write", action="store_true", help="keep these tables as the right ones")
    parser.add_argument("--any-ids", action="store_true", help="ids may have new values")
    parser.add_argument("--findings", action="store_true", help="compare findings too")
    parser.add_argument("--from", dest="source", help="a folder with both studies, already run")
    given = parser.parse_args()
    differences = 0
    for name in given.studies:
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(given.source or scratch) / name
            if not given.source:
                run(name, directory)
            tables = plain_tables(directory)
        kept = FOLDER / f"{name}.json"
        if given.write:
            kept.write_text(json.dumps(tables, indent=1) + "\n")
            continue
        lines = list(compare(json.loads(kept.read_text()), tables, given.any_ids, given.findings))
        differences += len(lines)
        rows = {key: len(tables[key]) for key in ("trials", "rungs", "assets")}
        print(f"{name}: {rows}, {len(lines)} differences", *lines[:40], sep="\n  ")
    return 1 if differences else 0


def run(name: str, directory: Path) -> None:
    """The study has run to its end, as a user runs it."""
    command = [sys.executable, "-m", "rethink_ray.cli", "run", str(FOLDER / f"{name}.yaml")]
    subprocess.run([*command, "--out", str(directory)], check=True, stdout=subprocess.DEVNULL)


def plain_tables(directory: Path) -> dict[str, Any]:
    """Trials, rungs, assets and findings without what depends on time and machine."""
    results = read_study(directory)
    tables = {
        key: [
            {k: _plain(v) for k, v in row.items() if k not in MACHINE_COLUMNS}
            for row in getattr(results, key).to_pylist()
        ]
        for key in ("trials", "rungs", "assets")
    }
    computed_by = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}
    return {"computed_by": computed_by, **tables, "findings": steady(results.as_dict())}


def steady(tree: Any) -> Any:
    """Findings without times and memory."""
    if isinstance(tree, dict):
        return {k: steady(v) for k, v in tree.items() if not any(word in k for word in UNSTEADY)}
    return [steady(v) for v in tree] if isinstance(tree, list) else _plain(tree)


def compare(
    kept: dict[str, Any], now: dict[str, Any], any_ids: bool, with_findings: bool
) -> Iterator[str]:
    """One line per value that differs; columns that only ``now`` has are no difference."""
    if kept["computed_by"] != now["computed_by"]:
        yield f"computed by {now['computed_by']}, kept by {kept['computed_by']}: may differ"
    for key in ("trials", "rungs", "assets"):
        before, after = kept[key], now[key]
        if any_ids:
            before, after = numbered_ids(before), numbered_ids(after)
        if len(before) != len(after):
            yield f"{key}: {len(before)} rows before, {len(after)} now"
        for index, (old, new) in enumerate(zip(before, after, strict=False)):
            for column, value in old.items():
                name = RENAMED.get(column, column)
                if name not in new or new[name] != value:
                    yield f"{key}[{index}].{name}: {value!r} before, {new.get(name)!r} now"
    if with_findings:
        yield from _differing("findings", kept["findings"], now["findings"])


def numbered_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows whose ids are numbers in the order of their first appearance."""
    numbers: dict[str, int] = {}

    def number(value: Any) -> Any:
        if isinstance(value, list):
            return [number(one) for one in value]
        return value if value is None else numbers.setdefault(value, len(numbers))

    return [{k: number(v) if k in NAMED_BY_CONTENT else v for k, v in r.items()} for r in rows]


def _differing(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() - set(OTHER_SHAPE):
            name = key if key in new else RENAMED_FINDINGS.get(key, key)
            yield from _differing(f"{path}.{name}", old[key], new.get(name))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from _differing(f"{path}[{index}]", left, right)
    elif old != new:
        yield f"{path}: {old!r} before, {new!r} now"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


if __name__ == "__main__":
    sys.exit(main())
