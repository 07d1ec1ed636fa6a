"""Levels of the looks of usual plans, calibrated on Welch's t; ``calibrate_looks.py`` writes them.
"""

ALPHAS = (0.0001, 0.0003, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Overall two-sided errors, for which the table has a column each."""
_TABLE = """
"""


def read_levels(looks: tuple[int, ...], spending: str) -> list[list[float]] | None:
    """Nominal levels, a list for each of ``ALPHAS`` with one level for each look; None without."""
    for line in _TABLE.strip().splitlines():
        name, numbers, *rows = line.split()
        if name == spending and numbers == "-".join(map(str, looks)):
            return [[float(level) for level in row.split(",")] for row in rows]
    return None
