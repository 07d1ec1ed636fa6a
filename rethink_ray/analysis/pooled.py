"""The usual way, on the records of this study: one pool of all arms, halved on its first rung.

It answers whether it was worth giving each arm a cell of its own. Nothing is run again. Which
trials would have been dropped is exact; the winner is the best survivor whose end was recorded. Of
several searches of a cell the first is pooled.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rethink_ray.analysis.findings import Findings, RegimeResult
from rethink_ray.analysis.read.curves import CurvePoint
from rethink_ray.analysis.read.trials import Trial
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.arms import find_twins
from rethink_ray.judge.wording import counted, listed, metric_name, span, times
from rethink_ray.protocol.incumbents import rank_key
from rethink_ray.spec.resolve import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledRegime:
    """One regime, decided as one pool."""

    regime: str
    first: float
    """The rung on which the pool is halved."""
    last: float
    """The longest length that all arms have."""
    proposed: Mapping[str, int]
    """Arm -> its trials in the pool."""
    kept: Mapping[str, int]
    """Arm -> how many of them survive the first rung."""
    winner: str | None
    """Arm of the survivor that ends best on the select split; None if none has ended."""
    unrecorded: int
    """Survivors that their own cell stopped, so that their end is not known."""
    ends: Mapping[str, CurvePoint]
    """Arm -> its replicates at the longest length, from a cell of its own."""

    @property
    def thrown_away(self) -> tuple[str, ...]:
        """Arms of which nothing survives."""
        return tuple(arm for arm in self.proposed if not self.kept.get(arm))


def decide_as_pool(findings: Findings) -> tuple[PooledRegime | str, ...]:
    """Every regime as one pool; a sentence where that cannot be."""
    return tuple(_pool(findings, regime) for regime in findings.regimes)


def _pool(findings: Findings, regime: RegimeResult) -> PooledRegime | str:
    study, doubles = findings.study, find_twins(findings.study)
    arms = [cell for cell in regime.cells if cell.arm not in doubles]
    shared = [n for n in arms[0].lengths if all(n in other.lengths for other in arms)]
    if len(arms) < 2 or len(shared) < 2:
        return f"{regime.name}: a pool needs two arms that share two schedule lengths."
    first, last = min(shared), max(shared)
    ranked: list[tuple[tuple[float, str], str, Trial]] = []
    for cell in arms:
        record = findings.records[Cell(regime.name, cell.arm)].of_search(0)
        for trial in record.search:
            score = record.scores.get((trial.trial_id, first))
            merit = rank_key(score.select if score else None, trial.trial_id)
            ranked.append((merit, cell.arm, trial))
    keep = study.budget.keep or (2, 1)
    share = keep[1] / keep[0] if len(keep) > 1 else 0.5
    survivors = sorted(ranked, key=lambda entry: entry[0])[: max(1, round(share * len(ranked)))]
    if not any(merit[0] < float("inf") for merit, _, _ in survivors):
        return f"{regime.name}: no trial has finished {times(first)}, so there is no pool yet."
    ends = {c.arm: point for c in arms if (point := c.point(last)) and point.values}
    winner, unrecorded = _winner(findings, regime.name, survivors, last)
    return PooledRegime(
        regime=regime.name,
        first=first,
        last=last,
        proposed=Counter(arm for _, arm, _ in ranked),
        kept=Counter(arm for _, arm, _ in survivors),
        winner=winner,
        unrecorded=unrecorded,
        ends=ends,
    )


def _winner(
    findings: Findings,
    regime: str,
    survivors: list[tuple[tuple[float, str], str, Trial]],
    last: float,
) -> tuple[str | None, int]:
    """(arm of the best survivor at the longest length, survivors without a score there)."""
    ended = []
    for _, arm, trial in survivors:
        score = findings.records[Cell(regime, arm)].scores.get((trial.trial_id, last))
        if score is not None and score.select is not None:
            ended.append((rank_key(score.select, trial.trial_id), arm))
    return (min(ended)[1] if ended else None), len(survivors) - len(ended)


def pool_sentence(findings: Findings, pool: PooledRegime) -> str:
    """The trials that the pool would have kept, its winner, and the arms it would have lost."""
    total, left = sum(pool.proposed.values()), sum(pool.kept.values())
    kept = listed([f"{pool.kept.get(arm, 0)} of {arm}" for arm in pool.proposed])
    head = f"On {pool.regime}, one pool of {total} trials halved at {times(pool.first)} keeps "
    parts = [f"{head}{left}: {kept}."]
    if pool.winner is None:
        parts.append(f"None of them has a score at {times(pool.last)}.")
    else:
        parts.append(f"{pool.winner} would have won at {times(pool.last)}.")
    for arm in pool.thrown_away:
        parts.append(_lost(findings, pool, arm))
    if pool.unrecorded:
        many = counted(pool.unrecorded, "survivor")
        parts.append(f"{many} stopped before {times(pool.last)} here and could still have won.")
    return " ".join(parts)


def _lost(findings: Findings, pool: PooledRegime, arm: str) -> str:
    """The score that an arm without survivors has in a cell of its own."""
    metric, at = metric_name(findings.study), times(pool.last)
    own, best = pool.ends.get(arm), pool.ends.get(pool.winner or "")
    if own is None or own.mean is None:
        return f"{arm} would have been thrown away."
    size = f"{own.mean.value:.1f} {metric} {span(own.mean.interval(), sign=False)}".rstrip()
    if best is None or best.mean is None:
        return f"{arm} would have been thrown away; in its own cell it ends at {size} at {at}."
    other = f"{best.mean.value:.1f} {span(best.mean.interval(), sign=False)}".rstrip()
    ends = f"in its own cell it ends at {size} at {at}, {pool.winner} at {other}"
    return f"{arm} would have been thrown away; {ends}."


def pool_sheet(findings: Findings, pool: PooledRegime) -> Sheet:
    """Arms down: trials in the pool, trials kept, and the score in the arm's own cell."""
    rows = []
    for arm in pool.proposed:
        own = pool.ends.get(arm)
        mean = own.mean if own else None
        shown = "-"
        if mean:
            shown = f"{mean.value:.1f} {span(mean.interval(), sign=False)}".rstrip()
        would = "wins" if arm == pool.winner else "dropped" if arm in pool.thrown_away else "loses"
        rows.append((arm, str(pool.proposed[arm]), str(pool.kept.get(arm, 0)), would, shown))
    return Sheet(
        title=f"{pool.regime}: as if pooled",
        note=(
            f"Ranked on {findings.study.data.select_split} at {times(pool.first)}, one pool. Last "
            f"column: replicates on {findings.study.data.report_on}, from cells of their own."
        ),
        columns=(
            *("arm", "proposed", f"kept after {times(pool.first)}", "in the pool"),
            f"own cell at {times(pool.last)} ({metric_name(findings.study)})",
        ),
        rows=tuple(rows),
        numeric=frozenset({1, 2, 4}),
    )


def pool_tree(findings: Findings, pool: PooledRegime) -> dict[str, Any]:
    """One pool as plain data."""
    return {
        "regime": pool.regime,
        "halved_at": pool.first,
        "judged_at": pool.last,
        "proposed": dict(pool.proposed),
        "kept": {arm: pool.kept.get(arm, 0) for arm in pool.proposed},
        "winner": pool.winner,
        "thrown_away": list(pool.thrown_away),
        "unrecorded": pool.unrecorded,
        "sentence": pool_sentence(findings, pool),
    }
