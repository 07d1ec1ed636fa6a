"""What the studies on drawn shapes found, as the tables of docs/benchmarks.md.

    python scripts/benchmark_minis.py studies/he_mini studies/li_mini ...

Minutes of slots are those of training, scoring and assets, whatever else the machine did.
"""

import sys
from pathlib import Path
from typing import Any

from rethink_ray import read_study


def main(roots: list[Path]) -> None:
    for root in roots:
        results = read_study(root)
        found = results.as_dict()
        cost = found["cost"]
        minutes = (cost["slot_seconds"] + cost["asset_seconds"]) / 60
        print(f"### {found['study']}\n\n{found['question']} {minutes:.0f} minutes of slots.")
        if found["missing"]:
            print(f"**{found['missing']}**")
        for regime in found["regimes"]:
            print_curves(regime)
        print_comparisons(found["findings"])
        print()


def print_curves(regime: dict[str, Any]) -> None:
    """AP of every arm at every length: mean of the replicates and 95 % interval."""
    cells = regime["cells"]
    lengths = sorted({point["length"] for cell in cells for point in cell["points"]})
    print(f"\n{regime['num_images']} images (`{regime['name']}`):\n")
    print("| arm | " + " | ".join(f"{x:g}x" for x in lengths) + " |")
    print("|---" * (len(lengths) + 1) + "|")
    for cell in cells:
        at = {point["length"]: point for point in cell["points"]}
        print(f"| {cell['arm']} | " + " | ".join(_score(at.get(x)) for x in lengths) + " |")


def print_comparisons(findings: list[dict[str, Any]]) -> None:
    """The declared claims and the headlines: difference, interval, verdict."""
    kept = [f for f in findings if f["kind"] == "claim" or f["family"] == "primary"]
    print("\n| claim | difference (AP) | verdict |\n|---|---|---|")
    for finding in kept:
        difference = _signed(finding["estimate"], finding["interval"])
        print(f"| {finding['claim']} | {difference} | {finding['verdict']} |")


def _score(point: dict[str, Any] | None) -> str:
    if point is None or point["estimate"] is None:
        return "-"
    low, high = point["interval"] or (None, None)
    return f"{point['estimate']:.1f}" + ("" if low is None else f" [{low:.1f}, {high:.1f}]")


def _signed(estimate: float | None, interval: list[float] | None) -> str:
    if estimate is None:
        return "-"
    if not interval:
        return f"{estimate:+.1f}"
    return f"{estimate:+.1f} [{interval[0]:+.1f}, {interval[1]:+.1f}]"


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
