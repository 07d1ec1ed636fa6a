"""Calibrates the levels of looks on Welch's t, and writes ``rethink_ray/judge/look_levels.py``.

    python scripts/calibrate_looks.py            # about 10 minutes of one core
    python scripts/calibrate_looks.py --check    # how often plans without a table err

For each overall error and each look we find the p value at which the share of studies that any look
so far rejects is what the spending function allows, if the two arms are equal: the largest such
share over the ratios of their standard deviations (1, 4, and one arm without noise, which is
Student's t of one sample and so covers paired differences as well).

Nothing is counted. Given all deviations from the means, a look rejects if the difference of the two
means lies outside an interval; that difference is normal and independent of the deviations. So each
draw gives an exact probability (Rao-Blackwell), and draws with small deviations, where rejections
come from, are drawn more often and weighted down. The first look is integrated without draws.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr, stdtrit

from rethink_ray.judge.look_levels import ALPHAS
from rethink_ray.judge.spending import LookPlan, levels_of_normal, spend, tabulate_levels
from rethink_ray.spec.sequential import Spending

Floats = NDArray[np.float64]

TABLE = Path(__file__).resolve().parent.parent / "rethink_ray/judge/look_levels.py"
PLANS = (
    (3, 5, 7, 9),
    (3, 4),
    (3, 5),
    (3, 4, 5),
    (3, 5, 6),
    (3, 5, 7),
    (3, 4, 5, 6),
    (3, 5, 7, 8),
    (3, 6, 9),
    (5, 7, 9),
    (3, 5, 7, 9, 10),
    (3, 5, 7, 9, 11),
    (3, 5, 7, 9, 11, 12),
)
"""All that ``from: 3`` and ``to: 4`` to ``to: 12`` say, and some with looks of their own."""
UNTABULATED = ((3, 4, 5, 6, 7, 8, 9), (4, 6, 8), (5, 10, 15), (3, 20), (3, 4, 9), (10, 20, 30))
RATIOS = (1.0, 4.0, np.inf)
"""Ratios of 2 and 3 lie between those of 1 and 4."""
DRAWS = 2**15
DRAWS_OF_DEFAULT = 2**17
SEED = 16
NARROWER = (1.0, 0.75, 0.5, 0.35)
"""Factors by which all deviations of a draw are multiplied, and how often."""
SHARES = (0.7, 0.1, 0.1, 0.1)
DFS = 200


@dataclass(frozen=True)
class Drawn:
    """Deviations of two arms of one ratio, as the looks up to one of them see them."""

    offsets: Floats
    """``[looks, draws]``: difference at the last of these looks minus that at each."""
    ses: Floats
    dfs: Floats
    weights: Floats
    """``[draws]``, of mean 1."""


def scales_of(ratio: float) -> tuple[float, float]:
    """Standard deviations of two arms whose squares add up to 1."""
    return (1.0, 0.0) if np.isinf(ratio) else (float(np.cos(a := np.arctan(1 / ratio))), np.sin(a))


def draw_deviations(looks: tuple[int, ...], draws: int) -> Iterator[Drawn]:
    """Deviations for the last of the looks, for each ratio; all ratios share them."""
    last = looks[-1]
    rng = np.random.default_rng([SEED, *looks])
    factors = rng.choice(NARROWER, size=draws, p=SHARES)
    steps = rng.normal(size=(2, last - 1, draws)) * factors
    size, squares = steps[:, :, 0].size, (steps**2).sum(axis=(0, 1))
    mixed = sum(
        share * factor**-size * np.exp(-squares * (factor**-2 - 1.0) / 2.0)
        for factor, share in zip(NARROWER, SHARES, strict=True)
    )
    sums, moved = np.cumsum(steps**2, axis=1), steps / _helmert(last)[:, None]
    later = moved[:, ::-1].cumsum(axis=1)[:, ::-1]
    for scales in map(scales_of, RATIOS):
        offsets, ses, dfs = [], [], []
        for num in looks:
            parts = [scale**2 * s[num - 2] for scale, s in zip(scales, sums, strict=True)]
            total = parts[0] + parts[1]
            ses.append(np.sqrt(total / (num * (num - 1))))
            dfs.append(total**2 * (num - 1) / (parts[0] ** 2 + parts[1] ** 2))
            after = later[:, num - 1] if num < last else np.zeros((2, draws))
            offsets.append(scales[0] * after[0] - scales[1] * after[1])
        yield Drawn(np.array(offsets), np.array(ses), np.array(dfs), 1.0 / mixed)


def _helmert(num: int) -> Floats:
    """What each deviation is divided by to give the change of the mean of an arm."""
    index = np.arange(2.0, num + 1.0)
    return np.sqrt(index * (index - 1.0))


def half_widths(num: int, level: float, ses: Floats, dfs: Floats) -> Floats:
    """Half widths of the intervals within which a look does not reject."""
    grid = np.linspace(num - 1.0, 2.0 * num - 2.0, DFS)
    return np.asarray(np.interp(dfs, grid, stdtrit(grid, 1.0 - level / 2.0)) * ses)


class Calibrated:
    """Shares of studies that the looks of one plan reject, for given levels."""

    def __init__(self, looks: tuple[int, ...], draws: int = DRAWS) -> None:
        self.looks = looks
        self.drawn = [
            list(draw_deviations(looks[: k + 1], draws)) if k else [] for k in range(len(looks))
        ]

    def first(self, level: float) -> Floats:
        """Share that the first look rejects, for each ratio."""
        return np.array([welch_error(self.looks[0], level, ratio) for ratio in RATIOS])

    def inside(self, levels: tuple[float, ...]) -> list[tuple[Floats, Floats]]:
        """For each ratio the interval of differences that no earlier look rejects."""
        look, intervals = len(levels), []
        for drawn in self.drawn[look]:
            halves = np.array(
                [
                    half_widths(num, level, se, df)
                    for num, level, se, df in zip(
                        self.looks, levels, drawn.ses, drawn.dfs, strict=False
                    )
                ]
            )
            low = (drawn.offsets[:-1] - halves).max(axis=0)
            high = (drawn.offsets[:-1] + halves).min(axis=0)
            intervals.append((low, np.maximum(low, high)))
        return intervals

    def more(self, look: int, inside: list[tuple[Floats, Floats]], level: float) -> Floats:
        """Share that a later look rejects first, for each ratio."""
        num = self.looks[look]
        scale, shares = np.sqrt(num), []
        for (low, high), drawn in zip(inside, self.drawn[look], strict=True):
            half = half_widths(num, level, drawn.ses[-1], drawn.dfs[-1])
            below = ndtr(scale * np.minimum(high, -half)) - ndtr(scale * np.minimum(low, -half))
            above = ndtr(-scale * np.maximum(low, half)) - ndtr(-scale * np.maximum(high, half))
            shares.append(float(np.mean(drawn.weights * (below + above))))
        return np.array(shares)

    def solve(self, spent: Floats, guess: Floats) -> Floats:
        """The level of each look for the errors spent up to each."""
        levels = [_solve(self.first, float(spent[0]), float(guess[0]))]
        rejected = self.first(levels[0])
        for look in range(1, len(self.looks)):
            more = partial(self.more, look, self.inside(tuple(levels)))
            level = _solve(partial(_add, rejected, more), float(spent[look]), float(guess[look]))
            rejected = rejected + more(level)
            levels.append(level)
        return np.array(levels)

    def errors(self, levels: Floats) -> Floats:
        """Share of studies that any look rejects, for each ratio."""
        rejected = self.first(float(levels[0]))
        for look in range(1, len(self.looks)):
            inside = self.inside(tuple(levels[:look]))
            rejected = rejected + self.more(look, inside, float(levels[look]))
        return rejected


def _add(before: Floats, more: Callable[[float], Floats], level: float) -> Floats:
    return before + more(level)


def _solve(rejected: Callable[[float], Floats], target: float, guess: float) -> float:
    """The level at which the largest share is the target, by regula falsi on logarithms."""

    def miss(x: float) -> float:
        return float(np.log(max(rejected(float(np.exp(x))).max(), 1e-300)) - np.log(target))

    high = float(np.log(guess))
    low, at_high = high - 0.5, miss(high)
    while at_high < 0.0 and high < 0.0:
        low, high = high, min(0.0, high + 0.5)
        at_high = miss(high)
    at_low = miss(low)
    while at_low > 0.0:
        high, at_high, low = low, at_low, low - 1.0
        at_low = miss(low)
    for _ in range(40):
        x = high - at_high * (high - low) / (at_high - at_low)
        gap = miss(x)
        if abs(gap) < 2e-3 or high - low < 1e-4:
            break
        low, at_low, high, at_high = (x, gap, high, at_high) if gap < 0 else (low, at_low, x, gap)
    return float(np.exp(x))


def welch_error(num: int, level: float, ratio: float) -> float:
    """Share of studies of equal arms that one look rejects, integrated over both variances."""
    if np.isinf(ratio):
        return level
    half = (num - 1) / 2.0
    logs = np.linspace(-120.0 / (num - 1), np.log(2.0 * num + 60.0), 500)
    density = np.exp(half * logs - np.exp(logs) / 2.0 - half * np.log(2.0) - gammaln(half))
    first, second = (scale**2 * np.exp(logs) for scale in scales_of(ratio))
    total = first[:, None] + second
    dfs = total**2 * (num - 1) / (first[:, None] ** 2 + second**2)
    widths = half_widths(num, level, np.sqrt(total / (num - 1)), dfs)
    step = logs[1] - logs[0]
    return float((density[:, None] * density * 2.0 * ndtr(-widths)).sum() * step**2)


def calibrate(looks: tuple[int, ...], draws: int = DRAWS) -> Iterator[tuple[Spending, Floats]]:
    """Levels ``[errors, looks]`` of each spending function."""
    calibrated = Calibrated(looks, draws)
    for spending in get_args(Spending):
        plan = LookPlan(looks=looks, spending=spending)
        spent, guesses = spend(plan, np.asarray(ALPHAS)), levels_of_normal(plan)
        rows = [calibrated.solve(*pair) for pair in zip(spent, guesses, strict=True)]
        yield spending, np.array(rows)


def write_table() -> None:
    """Writes the lines between the quotes of ``look_levels.py`` anew."""
    lines: list[str] = []
    for looks in PLANS:
        draws = DRAWS_OF_DEFAULT if looks == PLANS[0] else DRAWS
        for spending, levels in calibrate(looks, draws):
            lines.append(f"{spending} {'-'.join(map(str, looks))}")
            lines += [" ".join(f"{level:.2e}" for level in column) for column in levels.T]
            print("\n".join(lines[-len(looks) - 1 :]), flush=True)
    opening, closing = '_TABLE = """\n', '"""\n\n\ndef find_levels'
    text = TABLE.read_text()
    before, after = text.partition(opening)[0], text.partition(closing)[2]
    TABLE.write_text(before + opening + "\n".join(lines) + "\n" + closing + after)


def check_untabulated() -> None:
    """Prints the largest error of plans without a table, where 5 % and 1 % are asked for."""
    for looks in UNTABULATED:
        calibrated = Calibrated(looks)
        for spending in get_args(Spending):
            plan = LookPlan(looks=looks, spending=spending)
            for name, levels in (
                ("known noise", levels_of_normal(plan)),
                ("as used", tabulate_levels(plan)),
            ):
                errors = [
                    calibrated.errors(levels[ALPHAS.index(alpha)]).max() for alpha in (0.05, 0.01)
                ]
                print(looks, spending, name, *(f"{100 * e:.2f} %" for e in errors), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="plans without a table, only")
    check_untabulated() if parser.parse_args().check else write_table()


if __name__ == "__main__":
    main()
