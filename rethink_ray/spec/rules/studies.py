"""What the groups of a study mean together: names, splits, budget and ladders."""

from rethink_ray.spec.regime import HoldoutSpec
from rethink_ray.spec.resolve import cells_of, lengths_of, space_of
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.settings import LENGTH_PATH, nearest
from rethink_ray.spec.study import CopyFrom, Study

MAX_NAME = 60


def _has_odd_names(study: Study) -> bool | Breach:
    """Regimes and arms name files, jobs (``regime/arm``) and table rows."""
    for group, names in (("regimes", study.regimes), ("arms", study.arms)):
        for name in names:
            is_plain = name.isprintable() and name == name.strip() and not set(name) & set("/\\")
            if not (is_plain and 0 < len(name) <= MAX_NAME):
                return Breach(key=group, came=name)
    return False


def _splits(study: Study) -> list[str]:
    """The splits that a study can name; all three where only the data set's files know it."""
    listed, split = study.data.listed_splits, study.data.split
    if not listed:
        return ["train", "val", "test"]
    return [*listed, *(() if split is None else split.shares)]


def _scores_on_no_split(study: Study) -> bool | Breach:
    data = study.data
    usable = [split for split in _splits(study) if split != "train"]
    for key, split in {"report_on": data.report_on, "select_on": data.select_on}.items():
        if not isinstance(split, HoldoutSpec) and split not in usable:
            words = {"usable": ", ".join(usable) or "none"}
            return Breach(key=f"data.{key}", came=split, words=words)
    return False


def _copies_from_no_arm(study: Study) -> bool | Breach:
    if not isinstance(study.tuning, CopyFrom) or study.tuning.copy_from in study.arms:
        return False
    arm = study.tuning.copy_from
    return Breach(came=arm, words={"nearest": nearest(arm, list(study.arms))})


def _searches_a_length(study: Study) -> bool:
    return any(LENGTH_PATH in space_of(study, cell) for cell in cells_of(study))


def _ladders(study: Study) -> list[tuple[float, ...]]:
    """The ladder of every cell that does not search its length."""
    cells = [cell for cell in cells_of(study) if LENGTH_PATH not in space_of(study, cell)]
    return [lengths_of(study, cell) for cell in cells]


def _keeps_for_another_ladder(study: Study) -> bool | Breach:
    """One entry for each length of the longest ladder; a shorter ladder reads the first ones."""
    keep, ladders = study.budget.keep, _ladders(study)
    longest = max(ladders, key=len, default=())
    if keep is None or not ladders or len(keep) == len(longest):
        return False
    return Breach(came=list(keep), words={"num": len(longest), "lengths": list(longest)})


def _has_nothing_to_decide(study: Study) -> bool | Breach:
    """One arm and no primary claim: no comparison could stop it."""
    plan = study.budget.sequential
    if plan is None or len(study.arms) > 1 or any(c.primary for c in study.claims.values()):
        return False
    return Breach(came=plan.as_written)


def _has_a_short_ladder(study: Study) -> bool | Breach:
    """Two lengths are always run, so only a third one can be left out."""
    if study.schedule.converged is None:
        return False
    longest = max((lengths_of(study, cell) for cell in cells_of(study)), key=len)
    words = {"lengths": list(longest)}
    return len(longest) < 3 and Breach(came=study.schedule.converged, words=words)


NAME_RULES: tuple[Rule[Study], ...] = (
    Rule(
        key="arms",
        reads=("regimes",),
        broken=_has_odd_names,
        must=f"must be named by 1 to {MAX_NAME} printable characters without / or \\",
        remedy="Rename it.",
    ),
    Rule(
        key="data.dataset",
        broken=lambda study: "train" not in _splits(study) and Breach(came=_splits(study)),
        must="must name a train split",
    ),
    Rule(
        key="data.select_on",
        reads=("data.report_on", "data.dataset"),
        broken=_scores_on_no_split,
        must="must be a split with labels",
        remedy="This data set has: {usable}. data.split: {{val: 20%, test: 20%}} cuts splits that "
        "it lacks from train, and {{holdout: 500}} in this place a hold-out.",
    ),
    Rule(
        key="tuning.copy_from",
        reads=("arms",),
        broken=_copies_from_no_arm,
        must="must name an arm",
        remedy="{nearest}",
    ),
)
LADDER_RULES: tuple[Rule[Study], ...] = (
    Rule(
        key="budget.keep",
        reads=("search", "arms"),
        broken=lambda study: (
            study.budget.keep is not None and len(study.budget.keep) != 1 and not _ladders(study)
        ),
        must="must have one entry where schedule.length is searched",
    ),
    Rule(
        key="budget.keep",
        reads=("search", "arms", "regimes", "schedule.lengths"),
        broken=_keeps_for_another_ladder,
        must="must have one entry for each of the {num} lengths",
        remedy="Lengths: {lengths}.",
    ),
    Rule(
        key="budget.keep",
        reads=("budget.trials",),
        broken=lambda study: (
            study.budget.keep is not None
            and study.budget.keep[0] > study.budget.trials
            and Breach(came=study.budget.keep[0])
        ),
        must="must start a round with at most the {budget.trials} trials of the budget",
        remedy="Raise budget.trials or lower keep[0].",
    ),
    Rule(
        key="budget.replicates",
        reads=("budget.searches", "arms", "claims"),
        broken=_has_nothing_to_decide,
        must="must be a plain number where nothing is compared",
        remedy="Add an arm, or write replicates: 3.",
    ),
    Rule(
        key="schedule.converged",
        reads=("search", "arms"),
        broken=lambda study: study.schedule.converged is not None and _searches_a_length(study),
        must="must be left out where schedule.length is searched",
    ),
    Rule(
        key="schedule.converged",
        reads=("budget.searches",),
        broken=lambda study: study.schedule.converged is not None and study.budget.num_searches > 1,
        must="must be left out where a cell is searched several times",
        remedy="Searches of one cell would end at different lengths; leave out budget.searches.",
    ),
    Rule(
        key="schedule.converged",
        reads=("schedule.lengths",),
        broken=_has_a_short_ladder,
        must="must have a ladder of three lengths or more, not {lengths}",
        remedy="Two are always run. Add lengths or leave it out.",
    ),
)
