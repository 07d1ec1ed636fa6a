"""How much of what a cell's trials scored goes with each parameter they sampled.

The share of the variance of the trials' *ranks* that one parameter explains by itself (a parabola
over a range, a mean per option of a choice), beside the largest share among a thousand shuffled
copies of it. Ranks, so that a diverged trial is the last and no outlier.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rethink_ray.analysis.read.trials import FAILED, CellRecord, Trial
from rethink_ray.analysis.sections.ranks import ranks
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.wording import percent, times
from rethink_ray.spec.resolve import Cell, space_of
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study

MIN_TRIALS = 20
COPIES = 1000
Columns = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """One parameter of one cell at one rung."""

    cell: Cell
    length: float
    path: str
    trials: int
    share: float
    """Of the variance of the trials' ranks, 0..1."""
    by_chance: float
    """The largest share among the shuffled copies."""
    value_at_best: str
    """What the best trial had there; empty where the parameter did not exist for it."""

    @property
    def clear(self) -> bool:
        """More than any of the shuffled copies."""
        return self.share > self.by_chance


@dataclass(frozen=True, slots=True, kw_only=True)
class TooFew:
    """A cell without enough finished trials at any rung."""

    cell: Cell
    trials: int
    """At the rung that has most."""


def importances(
    study: Study, records: Mapping[Cell, CellRecord]
) -> tuple[Importance | TooFew, ...]:
    """Per cell: its parameters at the first rung and at the longest with enough trials."""
    found: list[Importance | TooFew] = []
    for cell, record in records.items():
        space = space_of(study, cell)
        if not space or not record.search:
            continue
        scored = {length: _scored(record, length) for length in sorted(set(record.lengths))}
        enough = [length for length, trials in scored.items() if len(trials) >= MIN_TRIALS]
        if not enough:
            most = max((len(trials) for trials in scored.values()), default=0)
            found.append(TooFew(cell=cell, trials=most))
        for length in dict.fromkeys([*enough[:1], *enough[-1:]]):
            found += _of_cell(study, cell, length, scored[length], space)
    return tuple(found)


def shares_of(
    columns: Sequence[Columns], scores: Sequence[float], rng: np.random.Generator
) -> list[tuple[float, float]]:
    """(share explained, largest share of a shuffled copy) per parameter.

    Args:
        columns: per parameter [num_trials, k] float64: what its values are turned into.
        scores: one per trial, larger is better.
        rng: shuffles.
    """
    rank = ranks(scores)
    centred = rank - rank.mean()
    total = float(centred @ centred)
    if total == 0.0:
        return [(0.0, 0.0)] * len(columns)
    shuffled = rng.permuted(np.tile(centred, (COPIES, 1)), axis=1)
    found = []
    for column in columns:
        basis = _basis(column)
        explained = float(np.sum((basis.T @ centred) ** 2)) / total
        by_chance = np.sum((shuffled @ basis) ** 2, axis=1) / total
        found.append((explained, float(by_chance.max(initial=0.0))))
    return found


def columns_of(parameter: Parameter, values: Sequence[Any]) -> Columns:
    """[num_trials, k]: what a regression on one parameter sees; None = it did not exist there."""
    exists = np.array([value is not None for value in values], dtype=np.float64)
    if parameter.choice is not None:
        options = list(dict.fromkeys(str(value) for value in values))
        one_hot = [[float(str(value) == option) for value in values] for option in options]
        return np.array(one_hot, dtype=np.float64).T
    log = parameter.kind == "log_uniform"
    given = [np.log(v) if log else float(v) for v in values if v is not None]
    middle, spread = (float(np.mean(given)), float(np.std(given)) or 1.0) if given else (0.0, 1.0)
    place = np.zeros(len(values))
    place[exists > 0] = (np.array(given) - middle) / spread
    return np.stack([exists, place, place**2], axis=1)


def _basis(columns: Columns) -> Columns:
    """An orthonormal basis of what the columns span beyond a constant."""
    centred = columns - columns.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    kept: Columns = left[:, size > 1e-9 * max(1.0, float(size.max(initial=0.0)))]
    return kept


def _scored(record: CellRecord, length: float) -> list[tuple[Trial, float]]:
    """Search trials with a score at a length, larger is better; a failed one is last at the
    first rung, which it was the only one to be sure of running."""
    found = []
    for trial in record.search:
        score = record.scores.get((trial.trial_id, length))
        if score is not None and score.select is not None:
            found.append((trial, score.select))
        elif score is None and trial.state in FAILED and length == min(record.lengths):
            found.append((trial, -np.inf))
    return found


def _of_cell(
    study: Study,
    cell: Cell,
    length: float,
    scored: Sequence[tuple[Trial, float]],
    space: Mapping[str, Parameter],
) -> list[Importance]:
    values = {path: [trial.params.get(path) for trial, _ in scored] for path in space}
    varied = {path: space[path] for path, seen in values.items() if len(set(map(str, seen))) > 1}
    rng = np.random.default_rng([study.seed, zlib.crc32(f"{cell.name}@{length:g}".encode())])
    columns = [columns_of(parameter, values[path]) for path, parameter in varied.items()]
    best, _ = max(scored, key=lambda pair: pair[1])
    found = [
        Importance(
            cell=cell,
            length=length,
            path=path,
            trials=len(scored),
            share=share,
            by_chance=by_chance,
            value_at_best=_text(best.params.get(path)),
        )
        for path, (share, by_chance) in zip(
            varied, shares_of(columns, [score for _, score in scored], rng), strict=True
        )
    ]
    return sorted(found, key=lambda i: (-i.share, i.path))


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _row(one: Importance | TooFew) -> tuple[str, ...]:
    if isinstance(one, TooFew):
        return (one.cell.regime, one.cell.arm, *_untested(str(one.trials)))
    return (
        *(one.cell.regime, one.cell.arm, times(one.length), one.path),
        *(percent(one.share), percent(one.by_chance)),
        *("clear" if one.clear else "within chance", one.value_at_best or "-"),
    )


def _untested(trials: str) -> tuple[str, ...]:
    return ("-", f"not tested: finished trials {trials}", "-", "-", "-", "-")


def importance_sheet(study: Study, found: Sequence[Importance | TooFew]) -> Sheet:
    """Per cell and rung, the parameters from the most important on."""
    rows = [_row(one) for one in found]
    few = [one.trials for one in found if isinstance(one, TooFew)]
    if few and len(few) == len(found):
        rows = [("every", "every", *_untested(f"at most {max(few)}"))]
    return Sheet(
        title="Which parameters matter",
        note=(
            f"Share of the variance of ranks on {study.data.select_split} that a parameter "
            f"explains by itself, and the largest among {COPIES:,} shuffled copies of it: clear if "
            f"above all of them. Equal rungs only; not tested below {MIN_TRIALS} finished trials. "
            "What was sampled together shares its share."
        ),
        columns=(
            *("regime", "arm", "rung", "parameter", "share", "shuffled, at most"),
            *("verdict", "at the best trial"),
        ),
        rows=tuple(rows),
        numeric=frozenset({2, 4, 5, 7}),
    )
