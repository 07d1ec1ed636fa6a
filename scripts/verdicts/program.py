"""This program's answers: its own search, halving, replicates and findings, without Ray.

One study with nine replicates is replayed for each size of the search. Fewer replicates are its
first ones, because what a replicate measures does not depend on how many there are.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from rethink_ray.judge.read.searches import cell_results
from rethink_ray.judge.read.study_samples import objective_samples
from rethink_ray.judge.read.trials import read_cells
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.incumbents import WORST_SCORE
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.search.simulate import replay
from rethink_ray.spec.check import check_study
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import TrialConfig, cells_of
from rethink_ray.spec.study import Study
from verdicts.answers import Answer, Place, Winner
from verdicts.asked import declare_claims, judge_fixed
from verdicts.surfaces import ARMS, LENGTHS, RATES, REGIMES, USUAL_RATE, Cell, Surface

FIXED = "rethink-ray, fixed replicates"
BY_RULE = "the same, by the rivals' rule"
BUDGETS: Mapping[int, tuple[int, ...]] = {4: (3,), 8: (3, 5), 16: (5, 9)}
"""Search trials of each cell -> replicates of each incumbent."""
MOST_REPLICATES = 9
UNIT = 900
"""Updates of 1x. He's drops then come 600 and 200 updates before the end."""
SLOTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """A configuration that the search chose, and all of its replicates."""

    rate: float
    scores: Mapping[float, tuple[float, ...]]
    """Length -> score of each replicate there, in the order of their numbers."""
    updates: tuple[float, ...]
    """What each replicate cost, in units of 1x."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRun:
    """What one cell of the study did."""

    search_updates: float
    chosen: Mapping[float, str]
    """Length -> id of the configuration that is best there."""
    repeated: Mapping[str, Repeated]
    """Id -> configuration and replicates."""

    def winner(self, length: float, num: int) -> Winner:
        """The configuration of a length with its first ``num`` replicates."""
        chosen = self.repeated[self.chosen[length]]
        return Winner(rate=chosen.rate, scores=chosen.scores[length][:num])

    def updates(self, num: int) -> float:
        """What search and ``num`` replicates of every configuration cost, in units of 1x."""
        return self.search_updates + sum(sum(r.updates[:num]) for r in self.repeated.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRun:
    """One study with all of its replicates."""

    cells: Mapping[Cell, CellRun]
    samples: tuple[ScoreSample, ...]
    """What its findings compare."""

    @property
    def search_updates(self) -> float:
        """What all searches cost, in units of 1x."""
        return sum(one.search_updates for one in self.cells.values())


def answer_fixed_budgets(studies: Mapping[int, StudyRun], seed: int) -> Iterator[Answer]:
    """The answers with fixed replicates at every budget.

    Args:
        studies: search trials -> the study of that size.
        seed: of the studies.
    """
    for trials, run in studies.items():
        for num in BUDGETS[trials]:
            yield answer_fixed(run, trials, num, seed)


def answer_fixed(run: StudyRun, trials: int, num: int, seed: int) -> Answer:
    """The answer of a study that takes the same number of replicates everywhere.

    Args:
        run: of the study, with so many replicates or more.
        trials: search trials of each cell.
        num: replicates of each incumbent.
        seed: of the study.
    """
    samples = [sample.up_to(num) for sample in run.samples]
    verdicts, verdicts_longest = (
        judge_fixed(build_study(trials, seed, num, is_longest_alone=alone), samples)
        for alone in (False, True)
    )
    updates = sum(one.updates(num) for one in run.cells.values())
    return Answer(
        policy=FIXED,
        budget=f"{trials} trials, {num} replicates",
        winners=list_winners(run, dict.fromkeys(run.cells, num)),
        updates=updates,
        updates_longest=updates,
        updates_search=run.search_updates,
        verdicts=verdicts,
        verdicts_longest=verdicts_longest,
    )


def list_winners(run: StudyRun, replicates: Mapping[Cell, int]) -> dict[Place, Winner]:
    """The configuration of each cell and length, with so many of its first replicates."""
    return {
        (*cell, length): one.winner(length, replicates[cell])
        for cell, one in run.cells.items()
        for length in LENGTHS
    }


def judge_by_rule(answer: Answer) -> Answer:
    """An answer of this program whose verdicts the rule for rivals gives, not its findings."""
    return replace(answer, policy=BY_RULE, verdicts=None, verdicts_longest=None)


def run_study(surface: Surface, trials: int) -> StudyRun:
    """A study of this size on a surface."""

    def measure(config: TrialConfig, length: float) -> Mapping[str, float]:
        cell, run = (config.regime, config.arm), f"study of {trials}, {config.trial_id}"
        ap = surface.measure(cell, config.recipe.optimizer.lr, run, length)
        return {"val/ap": ap, "test/ap": ap}

    study, facts = build_study(trials, surface.seed), build_facts()
    state = replay(study, facts, measure, slots=SLOTS, order_seed=surface.seed)
    return read_run(StudyView(study, state, facts))


def read_run(view: StudyView) -> StudyRun:
    """What the records of a study say: cell by cell, and as its findings read them."""
    study, state, facts = view.study, view.state, view.facts
    results = cell_results(study, read_cells(build_tables(study, state, facts)))
    return StudyRun(
        cells={
            (cell.regime, cell.arm): read_cell(view, state, cell_index)
            for cell_index, cell in enumerate(cells_of(study))
        },
        samples=tuple(objective_samples(study, facts, results)),
    )


def read_cell(view: StudyView, state: StudyState, index: int) -> CellRun:
    """What the records say about the cell of this number."""
    cell = view.cell(cells_of(view.study)[index])
    costs: Counter[str] = Counter()
    for (trial_id, _), rung in state.rungs.items():
        costs[trial_id] += rung.steps_new
    unit = cell.config_of(cell.members("search")[0]).recipe.schedule.unit
    chosen = {length: member.trial_id for length, member in cell.incumbents.items()}
    repeated = {}
    for member in cell.repeated:
        replicates = [m.trial_id for m in cell.members("replicate") if m.of == member.trial_id]
        lengths = [length for length, trial_id in chosen.items() if trial_id == member.trial_id]
        repeated[member.trial_id] = Repeated(
            rate=cell.config_of(member).recipe.optimizer.lr,
            scores={x: tuple(_score(state, r, x) for r in replicates) for x in lengths},
            updates=tuple(costs[replicate] / unit for replicate in replicates),
        )
    searched = sum(costs[m.trial_id] for m in cell.members("search")) / unit
    return CellRun(search_updates=searched, chosen=chosen, repeated=repeated)


def _score(state: StudyState, trial_id: str, length: float) -> float:
    """The AP of a replicate; one that the method ended has the worst."""
    rung = state.rungs.get((trial_id, length))
    return WORST_SCORE if rung is None else rung.metrics["test/ap"]


@cache
def build_study(
    trials: int,
    seed: int,
    replicates: int | tuple[int, int] = MOST_REPLICATES,
    *,
    is_longest_alone: bool = False,
) -> Study:
    """The study of three arms and two regimes; what its arms are called does not matter here.

    Args:
        trials: search trials of each cell.
        seed: of the study.
        replicates: a plain number, or those at the first and at the last look.
        is_longest_alone: only the headlines are asked, not the lengths below.
    """
    starts: list[dict[str, Any]] = [
        {},
        {"set": {"init.source": "upstream"}},
        {"set": {"init.source": "upstream", "init.frozen": "backbone"}},
    ]
    until_decided = isinstance(replicates, tuple) and {
        "from": replicates[0],
        "to": replicates[1],
        "until": "decided",
    }
    tree = {
        "study": "planted",
        "data": {"dataset": "shapes"},
        "regimes": {REGIMES[0]: {"images": "all"}, REGIMES[1]: {"images": 60}},
        "recipe": "tiny_retinanet",
        "settings": {"optimizer": {"lr": USUAL_RATE}},
        "arms": dict(zip(ARMS, starts, strict=True)),
        "search": {"optimizer.lr": {"log_uniform": RATES}},
        "schedule": {
            "unit": UNIT,
            "lengths": LENGTHS,
            "decay": {"kind": "step", "before_end": [0.667, 0.222], "factor": 0.1},
        },
        "budget": {"trials": trials, "replicates": until_decided or replicates},
        "claims": {} if is_longest_alone else declare_claims(),
        "seed": seed,
    }
    study = Study.model_validate_json(json.dumps(tree))
    check_study(study, "planted")
    return study


@cache
def build_facts() -> DataFacts:
    """Facts of a data set that does not exist."""
    return DataFacts(
        fingerprint="planted",
        categories=("a",),
        regime_sizes={REGIMES[0]: 600, REGIMES[1]: 60},
        regime_digests={name: name for name in REGIMES},
        split_sizes={"train": 600, "val": 1, "test": 1},
        upstream_fingerprint="none",
    )
