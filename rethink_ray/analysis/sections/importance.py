"""How much of what a cell's trials scored goes with each parameter they sampled.

The share of the variance of the trials' *ranks* that one parameter explains by itself (a parabola
over a range, a mean per option of a choice), beside the largest share among a thousand shuffled
copies of it.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rethink_ray.analysis.sections.section import Section, SectionInput
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.ranks import COPIES, explained_shares, regression_columns
from rethink_ray.judge.read.trials import FAILED, CellRecord, Trial
from rethink_ray.judge.wording import percent, times, value_text
from rethink_ray.spec.resolve import Cell, space_of
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study

MIN_TRIALS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """One parameter of one cell at one rung."""

    cell: Cell
    trials: int
    length: float
    parameter: str
    share: float
    """Of the variance of the trials' ranks, 0..1."""
    by_chance: float
    """The largest share among the shuffled copies."""
    verdict: Literal["clear", "within chance"]
    """Clear: a larger share than any of the shuffled copies has."""
    value_at_best: str
    """What the best trial had there; empty where the parameter did not exist for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TooFewTrials:
    """A cell without enough finished trials at any rung."""

    cell: Cell
    trials: int
    """At the rung that has most."""
    verdict: Literal["not tested"] = "not tested"


_Row = Importance | TooFewTrials


def derive_importance(given: SectionInput) -> tuple[_Row, ...]:
    """Per cell: its parameters at the first rung and at the longest with enough trials."""
    rows: list[_Row] = []
    for cell, record in given.records.items():
        space = space_of(given.study, cell)
        if not space or not record.search:
            continue
        scored = {length: _scored(record, length) for length in sorted(set(record.lengths))}
        enough = [length for length, trials in scored.items() if len(trials) >= MIN_TRIALS]
        if not enough:
            most = max((len(trials) for trials in scored.values()), default=0)
            rows.append(TooFewTrials(cell=cell, trials=most))
        for length in dict.fromkeys([*enough[:1], *enough[-1:]]):
            rows += _of_cell(given.study, cell, length, scored[length])
    return tuple(rows)


def _scored(record: CellRecord, length: float) -> list[tuple[Trial, float]]:
    """Search trials with a score at a length.

    A failed trial is the last one at the first rung, the only rung it was sure to run.
    """
    scored = []
    for trial in record.search:
        score = record.scores.get((trial.trial_id, length))
        if score is not None and score.select is not None:
            scored.append((trial, score.select))
        elif score is None and trial.state in FAILED and length == min(record.lengths):
            scored.append((trial, -np.inf))
    return scored


def _of_cell(
    study: Study, cell: Cell, length: float, scored: Sequence[tuple[Trial, float]]
) -> list[Importance]:
    """The parameters that varied, from the most important on."""
    varied = _varied(space_of(study, cell), [trial for trial, _ in scored])
    rng = np.random.default_rng([study.seed, zlib.crc32(f"{cell.name}@{length:g}".encode())])
    columns = [regression_columns(*parameter_values) for parameter_values in varied.values()]
    shares = explained_shares(columns, [score for _, score in scored], rng)
    best, _ = max(scored, key=lambda pair: pair[1])
    rows = [
        Importance(
            cell=cell,
            trials=len(scored),
            length=length,
            parameter=path,
            share=share,
            by_chance=by_chance,
            verdict="clear" if share > by_chance else "within chance",
            value_at_best=value_text(best.params[path]) if path in best.params else "",
        )
        for path, (share, by_chance) in zip(varied, shares, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row.share, row.parameter))


def _varied(
    space: Mapping[str, Parameter], trials: Sequence[Trial]
) -> dict[str, tuple[Parameter, list[Any]]]:
    """Path -> (parameter, its value in each trial), if trials differ in it."""
    values = {path: [trial.params.get(path) for trial in trials] for path in space}
    return {
        path: (space[path], seen) for path, seen in values.items() if len(set(map(str, seen))) > 1
    }


def _build(given: SectionInput, rows: Sequence[_Row]) -> Sheet:
    few = [row.trials for row in rows if isinstance(row, TooFewTrials)]
    texts = [_texts(row) for row in rows]
    if few and len(few) == len(rows):
        texts = [("every", "every", *_untested(f"at most {max(few)}"))]
    return Sheet(
        title=IMPORTANCE.title,
        note=(
            f"Share of the variance of ranks on {given.study.data.select_split} that a parameter "
            f"explains by itself, and the largest share among {COPIES:,} shuffled copies of it. "
            "Clear: a larger share than any copy. Each rung is taken by itself, and is not tested "
            f"below {MIN_TRIALS} finished trials. If two parameters rose and fell together, each "
            "shows the share of both."
        ),
        columns=(
            "regime",
            "arm",
            "rung",
            "parameter",
            "share",
            "shuffled, at most",
            "verdict",
            "at the best trial",
        ),
        rows=tuple(texts),
        numeric=frozenset({2, 4, 5, 7}),
    )


def _texts(row: _Row) -> tuple[str, ...]:
    if isinstance(row, TooFewTrials):
        return (row.cell.regime, row.cell.arm, *_untested(str(row.trials)))
    return (
        row.cell.regime,
        row.cell.arm,
        times(row.length),
        row.parameter,
        percent(row.share),
        percent(row.by_chance),
        row.verdict,
        row.value_at_best or "-",
    )


def _untested(trials: str) -> tuple[str, ...]:
    return ("-", f"not tested: finished trials {trials}", "-", "-", "-", "-")


IMPORTANCE = Section(
    key="importance",
    title="Which parameters matter",
    part="search",
    derive_rows=derive_importance,
    build_sheet=_build,
)
