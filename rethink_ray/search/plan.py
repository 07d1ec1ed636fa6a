"""A dry run: what a study will run, what that costs in updates, and how busy its slots will be.

It makes the real decisions on made-up scores, so its counts are those of the real run. Only which
configuration wins is made up, and with it the number of different incumbents.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rethink_ray.protocol.cell_rules import may_end_early, searches_of_cell, with_whole_ladders
from rethink_ray.protocol.cell_view import CellView, StudyView
from rethink_ray.protocol.looks import sequential_axis
from rethink_ray.records.types import Member
from rethink_ray.search.costs import ladder_steps, separate_steps
from rethink_ray.search.disk import DiskMeter, WeightCount
from rethink_ray.search.looks import pretend_all_decided, pretend_none_decided
from rethink_ray.search.points import space_in
from rethink_ray.search.simulate import SimulatedCluster
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import digest_of, seed_of
from rethink_ray.spec.resolve import Cell, TrialConfig, base_recipe, cells_of
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan:
    """What one cell will run, all of its searches together."""

    cell: Cell
    num_parameters: int
    """Searched paths."""
    num_configurations: int | None
    """Size of the search space; None: a range is continuous, or there are more than 10,000."""
    rounds: int
    trials: int
    """Search trials."""
    incumbents: int
    """Distinct incumbents over the lengths, by the made-up scores."""
    replicates: int
    """Replicate trials, by the made-up scores."""
    replicates_range: tuple[int, int]
    """Fewest and most replicates: with one incumbent for all lengths, and with one for each. Where
    they wait for a decision, the first look or the last one makes it."""
    steps_range: tuple[int, int]
    """Fewest and most updates, search included. The fewest are with one incumbent, with two lengths
    if ladders may end early, and with one look if replicates wait for a decision."""
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
    """Share of the slots' time until the end in which they work."""
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

    Where a ladder may end early, a second run, in which no length gains anything, gives the least
    that the study costs. Where replicates wait for a decision, the run takes all of them, and a
    second run, in which the first look decides everything, gives the least.

    Args:
        study: the study.
        facts: facts of its data set.
        slots: jobs at a time.
        count_weights: configuration -> number of weights, for the disk estimate.
    """
    # Counts do not depend on the sampler; Sobol points cost no model.
    sobol = study.model_copy(update={"sampler": "quasi_random"})
    cluster = SimulatedCluster(
        with_whole_ladders(sobol),
        facts,
        pretend_metrics,
        slots=slots,
        look_taker=pretend_none_decided,
    )
    meter = None
    if count_weights is not None:
        num_images = facts.split_sizes.get(study.data.report_split, 0)
        meter = DiskMeter(StudyView(study, cluster.state), count_weights, num_images)
        _measure_disk(meter, cluster)
    cluster.run()
    short = None
    if may_end_early(study) or sequential_axis(study):
        answer = pretend_no_gain if may_end_early(study) else pretend_metrics
        short = SimulatedCluster(sobol, facts, answer, slots=slots, look_taker=pretend_all_decided)
        short.run()
    assets = [job.asset for job in cluster.started if job.asset is not None]
    return Plan(
        cells=tuple(_plan_of_cell(cell, cluster, short) for cell in cells_of(study)),
        slots=slots,
        assets=len(assets),
        asset_kinds={
            kind: (len(of_kind), sum(asset.steps for asset in of_kind))
            for kind in sorted({asset.kind for asset in assets})
            if (of_kind := [asset for asset in assets if asset.kind == kind])
        },
        asset_steps=sum(asset.steps for asset in assets),
        makespan_steps=round(cluster.makespan),
        busy_share=cluster.busy / (slots * cluster.makespan) if cluster.makespan else 0.0,
        disk_final_bytes=None if meter is None else meter.count(cluster.started),
        disk_bytes=None if meter is None else meter.peak_bytes,
    )


def _measure_disk(meter: DiskMeter, cluster: SimulatedCluster) -> None:
    """Let the meter watch each event of the cluster."""
    cluster.watch = lambda event: meter.watch(event, cluster.started, cluster.running)


def pretend_metrics(config: TrialConfig, length: float) -> dict[str, float]:
    """A made-up AP: mostly the configuration, some of it drifting with length, little noise."""
    recipe = config.recipe.model_dump(mode="json", exclude={"schedule"})
    digest = digest_of(recipe)
    quality = _uniform(digest) + 0.25 * _uniform(digest, f"{length:g}")
    quality += 0.05 * _uniform(config.seed)
    ap = 20.0 + length + 4.0 * quality
    splits = {config.data.select_split, config.data.report_split}
    return {f"{split}/{config.objective.metric}": ap for split in sorted(splits)}


def pretend_no_gain(config: TrialConfig, length: float) -> dict[str, float]:
    """A made-up AP that no length changes, so that every round converges as soon as it may."""
    splits = {config.data.select_split, config.data.report_split}
    ap = 20.0 + _uniform(config.seed)
    return {f"{split}/{config.objective.metric}": ap for split in sorted(splits)}


def _uniform(*parts: str | int) -> float:
    return seed_of(*parts) / 2**31


def _plan_of_cell(
    cell: Cell, cluster: SimulatedCluster, short: SimulatedCluster | None
) -> CellPlan:
    """What a cell will run, all of its searches together.

    Args:
        cell: the cell.
        cluster: has run the whole ladder.
        short: has run the least that the study may need; None: it cannot end early.
    """
    plans = []
    for search in searches_of_cell(cluster.decider.view.study, cell):
        shortest = None if short is None else short.decider.view.cell(search)
        jobs = sum(job.asset is None and job.cell == search.name for job in cluster.started)
        plans.append(_plan_of_search(cluster.decider.view.cell(search), shortest, jobs))
    return _together(plans)


def _plan_of_search(view: CellView, short: CellView | None, jobs: int) -> CellPlan:
    space = space_in(view.study, view.cell)
    search, replicates = view.members("search"), view.members("replicate")
    search_steps, replicate_steps = _steps(view, search), _steps(view, replicates)
    costs = _incumbent_steps(view, len(search))
    most = fewest = view.rules.num_replicates
    least = search_steps[0] + most * costs[-1]
    if short is not None:
        fewest, num_lengths = short.num_replicates, 2 if may_end_early(short.study) else None
        least = _steps(short, short.members("search"))[0]
        least += fewest * _incumbent_steps(view, len(search), num_lengths)[-1]
    return CellPlan(
        cell=view.cell,
        num_parameters=len(space.parameters),
        num_configurations=space.num_configurations,
        rounds=len(view.rounds("search")),
        trials=len(search),
        incumbents=len({m.of for m in replicates}),
        replicates=len(replicates),
        replicates_range=(fewest, most * len(costs)),
        steps_range=(least, search_steps[0] + most * sum(costs)),
        jobs=jobs,
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


def _incumbent_steps(view: CellView, trials: int, num_lengths: int | None = None) -> list[int]:
    """Updates of one replicate of each incumbent, if no two lengths have the same; rising.

    An incumbent is repeated up to the longest length it is best at. There are never more incumbents
    than search trials.

    Args:
        view: the cell.
        trials: search trials.
        num_lengths: count only this many lengths, the shortest ones; None: the whole ladder.
    """
    lengths = view.ladder.lengths[:num_lengths]
    schedule = base_recipe(view.study, view.cell).schedule
    if view.ladder.searched:
        costs = [schedule.steps(length) for length in lengths]
    else:
        costs = [ladder_steps(schedule, lengths[: i + 1]) for i in range(len(lengths))]
    return costs[-max(1, trials) :]


def _steps(view: CellView, members: Iterable[Member]) -> tuple[int, int]:
    """Updates of these trials with and without shared trunks."""
    shared = separate = 0
    for member in members:
        schedule = view.config_of(member).recipe.schedule
        done = view.state.lengths_done(member.trial_id, schedule.lengths)
        shared += ladder_steps(schedule, done)
        separate += separate_steps(schedule, done)
    return shared, separate
