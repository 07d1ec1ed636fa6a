"""Levels of the looks of usual plans, calibrated on Welch's t at 3 to 12 replicates.

The table holds for standard deviations that differ up to fourfold; ``scripts/calibrate_looks.py``
writes it. A plan is two words: its spending function and its looks. Below it stands one line for
each look: the p value that decides there, for each overall error of ``ALPHAS``.
"""

ALPHAS = (0.0001, 0.0003, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Overall two-sided errors."""
_TABLE = """
"""


def read_levels(looks: tuple[int, ...], spending: str) -> list[list[float]] | None:
    """Levels ``[errors][looks]`` of a plan; None if it is not in the table."""
    lines = _TABLE.splitlines()
    name = f"{spending} {'-'.join(map(str, looks))}"
    if name not in lines:
        return None
    start = lines.index(name) + 1
    by_look = [list(map(float, line.split())) for line in lines[start : start + len(looks)]]
    return [list(levels) for levels in zip(*by_look, strict=True)]
