"""The usual way, on the records of this study: one pool of all arms, halved on its first rung.

A what-if for readers who wonder whether a search per arm was worth it. Nothing is run again: which
trials the pool would have dropped is exact; its winner is the best survivor with a recorded end. Of
several searches of a cell, the first is pooled.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rethink_ray.analysis.sections.section import Section, SectionInput
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.arms import find_twins
from rethink_ray.judge.read.curves import CellResult, CurvePoint
from rethink_ray.judge.read.trials import Trial
from rethink_ray.judge.wording import counted, listed, mean_text, metric_name, times
from rethink_ray.protocol.incumbents import rank_key
from rethink_ray.spec.resolve import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledRegime:
    """One regime, decided as one pool."""

    regime: str
    sentence: str
    """What the pool would have done, and missed; or why there is no pool."""
    halved_at: float | None = None
    """The rung on which the pool is halved; None if there is no pool."""
    judged_at: float | None = None
    """The longest length that all arms have."""
    proposed: Mapping[str, int]
    """Arm -> its trials in the pool."""
    kept: Mapping[str, int]
    """Arm -> how many of them survive the first rung."""
    winner: str | None = None
    """Arm of the survivor that ends best on the select split; None if none has ended."""
    dropped: tuple[str, ...] = ()
    """Arms of which no trial survives."""
    unrecorded: int = 0
    """Survivors that their own cell stopped, so that their end is not known."""
    ends: Mapping[str, CurvePoint]
    """Arm -> its replicates at the longest length: where it ends in a cell of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ranked:
    """A search trial of the pool, and its rank."""

    merit: tuple[float, str]
    arm: str
    trial: Trial


def derive_pools(given: SectionInput) -> tuple[PooledRegime, ...]:
    """Every regime as one pool; only a sentence where that is not possible."""
    return tuple(_pool(given, regime) for regime in given.study.regimes)


def _pool(given: SectionInput, regime: str) -> PooledRegime:
    results = [
        result
        for cell, result in given.results.items()
        if cell.regime == regime and cell.arm not in find_twins(given.study)
    ]
    shared = [x for x in results[0].lengths if all(x in r.lengths for r in results)]
    if len(results) < 2 or len(shared) < 2:
        why = "a pool needs two arms that share two schedule lengths."
        return _no_pool(regime, why)
    ranked = _ranked(given, results, min(shared))
    survivors = ranked[: max(1, round(_share_kept(given) * len(ranked)))]
    if not any(one.merit[0] < float("inf") for one in survivors):
        why = f"no trial has finished {times(min(shared))}, so there is no pool yet."
        return _no_pool(regime, why)
    return _decided(given, results, (min(shared), max(shared)), (ranked, survivors))


def _no_pool(regime: str, why: str) -> PooledRegime:
    return PooledRegime(regime=regime, sentence=f"{regime}: {why}", proposed={}, kept={}, ends={})


def _share_kept(given: SectionInput) -> float:
    """The share of trials that the study's own first halving step keeps."""
    keep = given.study.budget.keep or (2, 1)
    return keep[1] / keep[0] if len(keep) > 1 else 0.5


def _ranked(given: SectionInput, results: Sequence[CellResult], first: float) -> list[_Ranked]:
    """The search trials of all arms, best on the first rung first."""
    ranked = []
    for result in results:
        record = given.records[Cell(result.regime, result.arm)].of_search(0)
        for trial in record.search:
            score = record.scores.get((trial.trial_id, first))
            merit = rank_key(score.select if score else None, trial.trial_id)
            ranked.append(_Ranked(merit=merit, arm=result.arm, trial=trial))
    return sorted(ranked, key=lambda one: one.merit)


def _decided(
    given: SectionInput,
    results: Sequence[CellResult],
    lengths: tuple[float, float],
    trials: tuple[Sequence[_Ranked], Sequence[_Ranked]],
) -> PooledRegime:
    """A regime whose trials, all and those that survive, were ranked at the first length."""
    (ranked, survivors), regime = trials, results[0].regime
    by_arm = Counter(one.arm for one in ranked)
    proposed = {r.arm: by_arm[r.arm] for r in results if by_arm[r.arm]}
    kept = Counter(one.arm for one in survivors)
    winner, unrecorded = _winner(given, regime, survivors, lengths[1])
    pool = PooledRegime(
        regime=regime,
        sentence="",
        halved_at=lengths[0],
        judged_at=lengths[1],
        proposed=proposed,
        kept={arm: kept[arm] for arm in proposed},
        winner=winner,
        dropped=tuple(arm for arm in proposed if not kept[arm]),
        unrecorded=unrecorded,
        ends={r.arm: p for r in results if (p := r.point(lengths[1])) and p.values},
    )
    return replace(pool, sentence=_sentence(pool, metric_name(given.study)))


def _winner(
    given: SectionInput, regime: str, survivors: Sequence[_Ranked], last: float
) -> tuple[str | None, int]:
    """(arm of the best survivor at the longest length, survivors without a score there)."""
    ended = []
    for one in survivors:
        scores = given.records[Cell(regime, one.arm)].scores
        score = scores.get((one.trial.trial_id, last))
        if score is not None and score.select is not None:
            ended.append((rank_key(score.select, one.trial.trial_id), one.arm))
    return (min(ended)[1] if ended else None), len(survivors) - len(ended)


def _sentence(pool: PooledRegime, metric: str) -> str:
    """What the pool would have done, and what it would have missed."""
    first, last = times(pool.halved_at or 0.0), times(pool.judged_at or 0.0)
    total, left = sum(pool.proposed.values()), sum(pool.kept.values())
    kept = listed([f"{pool.kept[arm]} of {arm}" for arm in pool.proposed])
    head = f"On {pool.regime}, one pool of {total} trials halved at {first} keeps "
    parts = [f"{head}{left}: {kept}."]
    if pool.winner is None:
        parts.append(f"None of them has a score at {last}.")
    else:
        parts.append(f"{pool.winner} would have won at {last}.")
    parts += [_loss(pool, arm, metric, last) for arm in pool.dropped]
    if pool.unrecorded:
        many = counted(pool.unrecorded, "survivor")
        parts.append(f"{many} stopped before {last} here and could still have won.")
    return " ".join(parts)


def _loss(pool: PooledRegime, arm: str, metric: str, last: str) -> str:
    """Where an arm without survivors ends in a cell of its own."""
    lost = f"{arm} would have been dropped"
    end, best = pool.ends.get(arm), pool.ends.get(pool.winner or "")
    if end is None or end.mean is None:
        return f"{lost}."
    ends_at = f"in its own cell it ends at {mean_text(end.mean, metric)} at {last}"
    if best is None or best.mean is None:
        return f"{lost}; {ends_at}."
    return f"{lost}; {ends_at}, {pool.winner} at {mean_text(best.mean)}."


def _build(given: SectionInput, rows: Sequence[PooledRegime]) -> Sheet:
    """One pool's arms down; several pools have a sheet each."""
    (pool,) = rows
    first, last = times(pool.halved_at or 0.0), times(pool.judged_at or 0.0)
    return Sheet(
        title=f"{pool.regime}: as if pooled",
        note=(
            f"All trials ranked as one pool, on {given.study.data.select_split} at {first}. Last "
            f"column: replicates on {given.study.data.report_split}, from each arm's own cell."
        ),
        columns=(
            "arm",
            "proposed",
            f"kept after {first}",
            "in the pool",
            f"own cell at {last} ({metric_name(given.study)})",
        ),
        rows=tuple(_texts(pool, arm) for arm in pool.proposed),
        numeric=frozenset({1, 2, 4}),
    )


def _texts(pool: PooledRegime, arm: str) -> tuple[str, ...]:
    end = pool.ends.get(arm)
    fate = "wins" if arm == pool.winner else "dropped" if arm in pool.dropped else "loses"
    return (
        arm,
        str(pool.proposed[arm]),
        str(pool.kept[arm]),
        fate,
        mean_text(end.mean) if end and end.mean else "-",
    )


POOLED = Section(
    key="pools",
    title="As if pooled",
    part="search",
    derive_rows=derive_pools,
    build_sheet=_build,
)
