"""A dry run: what a study will run, what that costs in updates, and how busy its slots will be.

It is the decisions themselves with pretended results, so the counts are those of the real run;
only which configuration wins, hence how many distinct incumbents are replicated, is made up.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rethink_ray.protocol.teachers import recorded_teacher
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.search.configs import CellConfigs
from rethink_ray.search.costs import ladder_steps, separate_steps
from rethink_ray.search.disk import DiskMeter, WeightCount
from rethink_ray.search.points import space_in
from rethink_ray.search.simulate import PretendedCluster
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import digest_of, seed_of
from rethink_ray.spec.resolve import (
    Cell,
    TrialConfig,
    base_recipe,
    cells_of,
    lengths_of,
    space_of,
)
from rethink_ray.spec.settings import LENGTH_PATH
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan:
    """What one cell will run, all of its searches together."""

    cell: Cell
    num_parameters: int
    """Searched paths."""
    num_configurations: int | None
    """None: a range is continuous."""
    rounds: int
    trials: int
    """Search trials."""
    incumbents: int
    """Distinct incumbents over the lengths, as pretended."""
    replicates: int
    """Replicate trials, as pretended."""
    replicates_range: tuple[int, int]
    """From one incumbent for all lengths to one for each."""
    steps_range: tuple[int, int]
    """Updates, search included, over the same range; from two lengths on where a ladder may end
    early."""
    jobs: int
    search_steps: int
    replicate_steps: int
    separate_steps: int
    """Updates if no rung shared a trunk, search and replicates together."""

    @property
    def steps(self) -> int:
        """Updates, search and replicates together."""
        return self.search_steps + self.replicate_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a study will run on ``slots`` slots. Times are in updates of one slot."""

    cells: tuple[CellPlan, ...]
    slots: int
    assets: int
    asset_kinds: Mapping[str, tuple[int, int]]
    """Kind of asset -> how many are built, and the updates of all of them."""
    asset_steps: int
    """Updates of all assets; a classifier's are cheaper than a detector's."""
    makespan_steps: int
    busy_share: float
    """Of the slots' time until the end, as jobs are handed out."""
    disk_bytes: int | None
    """Checkpoints and kept detections at their most; None without a count of weights."""
    disk_final_bytes: int | None
    """The same once the study is done."""

    @property
    def steps(self) -> int:
        """Updates of all trials."""
        return sum(cell.steps for cell in self.cells)

    @property
    def steps_range(self) -> tuple[int, int]:
        """Updates of all trials: one incumbent a cell for all lengths, or one for each."""
        least = sum(cell.steps_range[0] for cell in self.cells)
        return least, sum(cell.steps_range[1] for cell in self.cells)

    @property
    def separate_steps(self) -> int:
        """Updates of all trials if no rung shared a trunk."""
        return sum(cell.separate_steps for cell in self.cells)

    @property
    def jobs(self) -> int:
        """Jobs of all cells, and the assets."""
        return sum(cell.jobs for cell in self.cells) + self.assets


def plan_study(
    study: Study,
    facts: DataFacts,
    *,
    slots: int = 1,
    count_weights: WeightCount | None = None,
) -> Plan:
    """The dry run of a study from its beginning, up the whole ladder.

    Where a ladder may end early, the least it takes is a second run that never gains anything.

    Args:
        study: the study.
        facts: its data set.
        slots: jobs at a time.
        count_weights: configuration -> number of weights, for the disk estimate.
    """
    # Counts do not depend on the sampler; Sobol points cost no model.
    ending = study.model_copy(update={"sampler": "quasi_random"})
    whole = study.schedule.model_copy(update={"converged": None})
    pretended = ending.model_copy(update={"schedule": whole})
    cluster = PretendedCluster(pretended, facts, pretend_metrics, slots=slots)
    seen = facts.split_sizes.get(study.data.report_on, 0)
    meter = None if count_weights is None else DiskMeter(study, count_weights, seen)
    if meter is not None:
        cluster.watch = lambda event: meter.watch(
            event, cluster.state, cluster.started, cluster.running
        )
    cluster.run()
    final = None if meter is None else meter.count(cluster.state, cluster.started)
    short = None
    if study.schedule.converged is not None:
        short = PretendedCluster(ending, facts, never_gaining, slots=slots)
        short.run()
    cells = tuple(
        _together(
            [
                _cell_plan(study, facts, replace(cell, search=n), cluster, short)
                for n in range(study.budget.searches)
            ]
        )
        for cell in cells_of(study)
    )
    assets = [job.asset for job in cluster.started if job.asset is not None]
    return Plan(
        cells=cells,
        slots=slots,
        assets=len(assets),
        asset_kinds={
            kind: (len(found), sum(asset.steps for asset in found))
            for kind in sorted({asset.kind for asset in assets})
            if (found := [asset for asset in assets if asset.kind == kind])
        },
        asset_steps=sum(asset.steps for asset in assets),
        makespan_steps=round(cluster.makespan),
        busy_share=cluster.busy / (slots * cluster.makespan) if cluster.makespan else 0.0,
        disk_bytes=None if meter is None else meter.peak_bytes,
        disk_final_bytes=final,
    )


def pretend_metrics(config: TrialConfig, length: float) -> dict[str, float]:
    """A made-up AP: mostly the configuration, some of it drifting with length, little noise."""
    recipe = config.recipe.model_dump(mode="json", exclude={"schedule"})
    what = digest_of(recipe)
    quality = _uniform(what) + 0.25 * _uniform(what, f"{length:g}") + 0.05 * _uniform(config.seed)
    ap = 20.0 + length + 4.0 * quality
    splits = {config.data.select_split, config.data.report_on}
    return {f"{split}/{config.objective.metric}": ap for split in sorted(splits)}


def never_gaining(config: TrialConfig, length: float) -> dict[str, float]:
    """A made-up AP that no length changes, so that every round converges as soon as it may."""
    splits = {config.data.select_split, config.data.report_on}
    ap = 20.0 + _uniform(config.seed)
    return {f"{split}/{config.objective.metric}": ap for split in sorted(splits)}


def _uniform(*parts: str | int) -> float:
    return seed_of(*parts) / 2**31


def _cell_plan(
    study: Study,
    facts: DataFacts,
    cell: Cell,
    cluster: PretendedCluster,
    short: PretendedCluster | None,
) -> CellPlan:
    state, space = cluster.state, space_in(study, cell)
    configs = CellConfigs(study, cell, facts)
    configs.teacher = recorded_teacher(study, facts, state, cell)
    search = [m for _, m in state.members(cell, "search")]
    replicates = [m for _, m in state.members(cell, "replicate")]
    search_steps = _steps(state, configs, search)
    replicate_steps = _steps(state, configs, replicates)
    costs = _incumbent_steps(study, cell, len(search))
    asked = study.budget.replicates
    least = search_steps[0] + asked * costs[-1]
    if short is not None:
        configs.teacher = recorded_teacher(study, facts, short.state, cell)
        members = [m for _, m in short.state.members(cell, "search")]
        least = _steps(short.state, configs, members)[0]
        least += asked * _incumbent_steps(study, cell, len(search), 2)[-1]
    return CellPlan(
        cell=cell,
        num_parameters=len(space.parameters),
        num_configurations=space.num_configurations,
        rounds=len(state.rounds.get((cell, "search"), {})),
        trials=len(search),
        incumbents=len({m.of for m in replicates}),
        replicates=len(replicates),
        replicates_range=(asked, asked * len(costs)),
        steps_range=(least, search_steps[0] + asked * sum(costs)),
        jobs=sum(job.asset is None and job.cell == cell.name for job in cluster.started),
        search_steps=search_steps[0],
        replicate_steps=replicate_steps[0],
        separate_steps=search_steps[1] + replicate_steps[1],
    )


def _together(searches: Sequence[CellPlan]) -> CellPlan:
    """One plan for all searches of a cell."""

    def ends(ranges: Iterable[tuple[int, int]]) -> tuple[int, int]:
        low, high = zip(*ranges, strict=True)
        return sum(low), sum(high)

    return replace(
        searches[0],
        rounds=sum(p.rounds for p in searches),
        trials=sum(p.trials for p in searches),
        incumbents=sum(p.incumbents for p in searches),
        replicates=sum(p.replicates for p in searches),
        replicates_range=ends(p.replicates_range for p in searches),
        steps_range=ends(p.steps_range for p in searches),
        jobs=sum(p.jobs for p in searches),
        search_steps=sum(p.search_steps for p in searches),
        replicate_steps=sum(p.replicate_steps for p in searches),
        separate_steps=sum(p.separate_steps for p in searches),
    )


def _incumbent_steps(
    study: Study, cell: Cell, trials: int, num_lengths: int | None = None
) -> list[int]:
    """Updates of one replicate of each incumbent, shortest first, where no two lengths share one.

    An incumbent is repeated up to the longest length it is best at; there are never more of them
    than search trials. ``num_lengths``: so many from the shortest on; None: the whole ladder.
    """
    lengths = lengths_of(study, cell)[:num_lengths]
    schedule = base_recipe(study, cell).schedule
    if LENGTH_PATH in space_of(study, cell):
        costs = [schedule.steps(length) for length in lengths]
    else:
        costs = [ladder_steps(schedule, lengths[: i + 1]) for i in range(len(lengths))]
    return costs[-max(1, trials) :]


def _steps(state: StudyState, configs: CellConfigs, members: list[Member]) -> tuple[int, int]:
    """Updates of these trials with and without shared trunks."""
    shared = separate = 0
    for member in members:
        schedule = configs.of(member)[0].recipe.schedule
        done = state.lengths_done(member.trial_id, schedule.lengths)
        shared += ladder_steps(schedule, done)
        separate += separate_steps(schedule, done)
    return shared, separate
