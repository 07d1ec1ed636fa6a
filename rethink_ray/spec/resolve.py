"""From a study to one run: the cells, their spaces, and the configuration of one trial.

A trial's id is a hash of what determines its numbers and of nothing else, so the same trial has the
same id on every machine, and a longer ladder is the same trial.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import FIRST_IDENTITY, IDENTITY, digest_of, trial_id_of
from rethink_ray.spec.recipe import Recipe, Spec
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.regime import DataSpec, Images
from rethink_ray.spec.settings import LENGTH_PATH, settled_paths, value_at, with_settings
from rethink_ray.spec.space import Parameter, Value
from rethink_ray.spec.study import CopyFrom, ObjectiveSpec, ResourceSpec, Study, TeacherFile


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One regime x one arm: the unit of fair comparison; or one of several searches of it."""

    regime: str
    arm: str
    search: int = 0
    """Which of its independent searches (``budget.searches``), counted from zero."""

    @property
    def name(self) -> str:
        """``regime/arm``; from the second search on ``regime/arm/2``."""
        plain = f"{self.regime}/{self.arm}"
        return f"{plain}/{self.search + 1}" if self.search else plain

    def of_arm(self, arm: str) -> "Cell":
        """Another arm in the same regime; its search of the same number."""
        return Cell(self.regime, arm, self.search)


class TrialConfig(Spec):
    """Everything one run needs to know; an exported config is exactly this, as YAML."""

    study: str
    regime: str
    arm: str
    images: Images
    data: DataSpec
    recipe: Recipe
    objective: ObjectiveSpec = ObjectiveSpec()
    resources: ResourceSpec = ResourceSpec()
    seed: int
    data_fingerprint: str
    regime_digest: str
    upstream_fingerprint: str
    unlabelled_fingerprint: str = ""
    num_categories: int
    num_images: int | None = None
    """Of the regime, whatever ``images`` says: what a pass over it is."""
    draw: int = 0
    """0: the regime itself; above: another draw of as many images, which a replicate has."""
    teacher: "TrialConfig | None" = None
    """The run that labels images for this one, or that this one goes on from; its longest length
    is how long it trains."""
    weights_digest: str = ""
    """Hash of the content of the file of weights that the run starts from (``init.source: file``)
    or that stands in for it; empty where there is none, and in records from before it was asked."""
    weights_file: str | None = None
    """Of a teacher alone: the file that holds what the run would have learned. It is not trained,
    and its seed says nothing."""
    backbone_code: str = ""
    """Version or source hash of the code behind a backbone from elsewhere; empty for ours, and in
    records from before it was asked."""
    asset_seed: int | None = None
    """Of all assets that are learned from the regime's images; ``None``: there are none. Shared by
    a cell's search trials, and each replicate's own."""

    @property
    def trial_id(self) -> str:
        """12 hex digits over what determines this trial's numbers (``hashing``)."""
        return trial_id_of(self)


class ExportedConfig(TrialConfig):
    """A trial's configuration with what it scored, so that a re-run can be held against it."""

    expected: dict[str, float] = {}
    """``<split>/<metric>`` at the last length -> AP points, as the study recorded them."""
    source: dict[str, str] = {}
    """Study fingerprint, trial id, identity and versions this came from; empty if none wrote it."""

    @property
    def identity(self) -> int:
        """Under which identity ``expected`` was recorded."""
        return int(self.source.get("identity", FIRST_IDENTITY)) if self.source else IDENTITY

    def plain(self) -> TrialConfig:
        """The configuration alone, as workers and trials know it."""
        return TrialConfig(**{name: getattr(self, name) for name in TrialConfig.model_fields})


def cells_of(study: Study) -> tuple[Cell, ...]:
    """Every cell, regimes in the file's order, arms inside them."""
    return tuple(Cell(regime, arm) for regime in study.regimes for arm in study.arms)


def searches_of(study: Study) -> tuple[Cell, ...]:
    """Every search of every cell: the first search of all cells, then the second, ..."""
    numbers = range(study.budget.searches)
    return tuple(Cell(c.regime, c.arm, number) for number in numbers for c in cells_of(study))


def copied_cell(study: Study, cell: Cell) -> Cell | None:
    """The cell whose values this one copies (He et al.'s protocol); None if it tunes itself."""
    if not isinstance(study.tuning, CopyFrom) or cell.arm == study.tuning.copy_from:
        return None
    return cell.of_arm(study.tuning.copy_from)


def base_recipe(study: Study, cell: Cell) -> Recipe:
    """The recipe of a cell before anything is sampled: base, settings, schedule, regime, arm.

    The study object keeps it: it takes 1 to 2 ms, and checks, tables and decisions ask again.
    """
    key = (cell.regime, cell.arm)
    if key not in study.base_recipes:
        study.base_recipes[key] = _build_base(study, cell)
    return study.base_recipes[key]


def _build_base(study: Study, cell: Cell) -> Recipe:
    recipe = with_settings(build_recipe(study.recipe), study.settings, "settings")
    schedule = study.schedule.model_dump(
        mode="json", exclude_none=True, exclude_unset=True, exclude={"converged"}
    )
    recipe = with_settings(recipe, {"schedule": schedule} if schedule else {}, "schedule")
    regime, arm = study.regimes[cell.regime], study.arms[cell.arm]
    recipe = with_settings(recipe, regime.set, f"regimes.{cell.regime}.set")
    return with_settings(recipe, arm.set, f"arms.{cell.arm}.set")


def space_of(study: Study, cell: Cell) -> dict[str, Parameter]:
    """What Optuna tunes in a cell: a path the arm or the regime sets is fixed and leaves."""
    fixed = settled_paths(study.arms[cell.arm].set) | settled_paths(study.regimes[cell.regime].set)
    searched = study.search | study.arms[cell.arm].search
    return {path: p for path, p in searched.items() if path not in fixed}


def base_values(study: Study, cell: Cell) -> dict[str, Value]:
    """The base recipe's value at every path of the cell's space and of its conditions."""
    space = space_of(study, cell)
    recipe = base_recipe(study, cell)
    paths = dict.fromkeys([*space, *(c for p in space.values() for c in p.when)])
    return {path: value_at(recipe, path) for path in paths}


def lengths_of(study: Study, cell: Cell) -> tuple[float, ...]:
    """The ladder of a cell; where the length is searched, its options in rising order."""
    searched = space_of(study, cell).get(LENGTH_PATH)
    if searched is None:
        return base_recipe(study, cell).schedule.lengths
    assert searched.choice is not None, "check_study allows only choices of length"
    return tuple(sorted(float(c) for c in searched.choice if isinstance(c, int | float)))


def keep_of(study: Study, cell: Cell) -> tuple[int, ...]:
    """How many of a round run each length; halved along the ladder where the study is silent.

    A ladder that grew past ``keep`` goes on with its last entry.
    """
    if LENGTH_PATH in space_of(study, cell):
        return (study.budget.keep or (study.budget.trials,))[:1]
    num = len(lengths_of(study, cell))
    keep = list(study.budget.keep or (study.budget.trials,))
    while len(keep) < num:
        last = keep[-1]
        keep.append(last if study.budget.keep else max(min(last, 2), last // 2))
    return tuple(keep[:num])


class CellResolver:
    """Puts sampled values into the recipe of one cell; what all its trials share is built once."""

    def __init__(self, study: Study, cell: Cell, facts: DataFacts) -> None:
        self._where = f"{cell.name} (sampled)"
        self._facts = facts
        self._unseeded = _unseeded(study, cell, facts)
        self._file_teacher = file_teacher(study, cell, facts)

    def resolve(
        self,
        sampled: Mapping[str, Value],
        seed: int,
        asset_seed: int | None = None,
        teacher: TrialConfig | None = None,
        draw: int = 0,
    ) -> TrialConfig:
        """The complete configuration of one trial of the cell.

        Args:
            sampled: dotted path -> value.
            seed: of the trial.
            asset_seed: left out where no asset is learned from the regime's images.
            teacher: its seeds are replaced by the trial's own; left out where no arm teaches.
            draw: of the regime's images.
        """
        recipe = with_settings(self._unseeded.recipe, sampled, self._where)
        config = with_draw(with_recipe(self._unseeded, recipe, self._facts), draw, self._facts)
        return with_seeds(config, seed, asset_seed, teacher or self._file_teacher)


def file_teacher(study: Study, cell: Cell, facts: DataFacts) -> TrialConfig | None:
    """The detector in a file that teaches a cell, as a run that is not trained; ``None``: none."""
    given = study.arms[cell.arm].teacher
    if not isinstance(given, TeacherFile):
        return None
    config = with_recipe(_unseeded(study, cell, facts), recipe_of_file(study, cell), facts)
    told = {"weights_file": given.file, "weights_digest": facts.files.get(given.file, "")}
    return config.model_copy(update=told)


def recipe_of_file(study: Study, cell: Cell) -> Recipe:
    """How the teacher in a file looks at images: as the arm does, unless the study says otherwise.

    What the arm samples does not matter, and how it trains even less.
    """
    given, own = study.arms[cell.arm].teacher, base_recipe(study, cell)
    assert isinstance(given, TeacherFile), "asked only where a file teaches"
    asked = Recipe(
        detector=own.detector.model_copy(update={"cascade_from": 0}),
        evaluation=own.evaluation,
        batch_size=own.batch_size,
        precision=own.precision,
    )
    return with_settings(asked, given.set, f"arms.{cell.arm}.teacher.set")


def with_recipe(config: TrialConfig, recipe: Recipe, facts: DataFacts) -> TrialConfig:
    """The same run by another recipe, which may have other weights or another backbone."""
    is_file = recipe.init.source == "file"
    update = {
        "recipe": recipe,
        "weights_digest": facts.files.get(recipe.init.weights or "", "") if is_file else "",
        "backbone_code": facts.backbones.get(recipe.detector.backbone, ""),
    }
    return config.model_copy(update=update)


def with_draw(config: TrialConfig, draw: int, facts: DataFacts) -> TrialConfig:
    """The same run on another draw of its regime's images; 0 is the regime itself."""
    if not draw:
        return config
    size = facts.regime_sizes[config.regime]
    digest = digest_of_draw(facts.train_digest, config.data.subset_seed, size, draw)
    return config.model_copy(update={"draw": draw, "regime_digest": digest})


def digest_of_draw(train_digest: str, subset_seed: int, num_images: int, draw: int) -> str:
    """Names the images of a draw by what determines them, which needs none of them.

    Args:
        train_digest: of all images that regimes are drawn from.
        subset_seed: ``data.subset_seed``.
        num_images: of the regime.
        draw: above 0.
    """
    return digest_of(["draw", train_digest, subset_seed, num_images, draw])


def _unseeded(study: Study, cell: Cell, facts: DataFacts) -> TrialConfig:
    return TrialConfig(
        study=study.study,
        regime=cell.regime,
        arm=cell.arm,
        images=study.regimes[cell.regime].images,
        data=study.data,
        recipe=base_recipe(study, cell),
        objective=study.objective,
        resources=study.resources,
        seed=0,
        data_fingerprint=facts.fingerprint,
        regime_digest=facts.regime_digests[cell.regime],
        upstream_fingerprint=facts.upstream_fingerprint,
        unlabelled_fingerprint=facts.unlabelled_fingerprint,
        num_categories=len(facts.categories),
        num_images=facts.regime_sizes[cell.regime],
    )


def with_seeds(
    config: TrialConfig, seed: int, asset_seed: int | None, teacher: TrialConfig | None = None
) -> TrialConfig:
    """The same run under other seeds; all that it learns from its regime comes under them too.

    The teacher is trained under ``asset_seed``, and its own assets under one made from that. One in
    a file stays as it is.
    """
    is_taught = config.recipe.labels.kind != "human"
    given = None if teacher is None or not is_taught else _on_images_of(config, teacher)
    from_file = given is not None and given.weights_file is not None
    learns = (is_taught and not from_file) or config.recipe.init.source == "direct"
    learned = asset_seed if learns else None
    taught = given if from_file else None
    if given is not None and not from_file:
        assert learned is not None, "whoever is taught has a seed for it"
        taught = with_seeds(given, learned, _seed_from(learned), given.teacher)
    update = {"seed": seed, "asset_seed": learned, "teacher": taught}
    return config.model_copy(update=update)


def _on_images_of(config: TrialConfig, teacher: TrialConfig) -> TrialConfig:
    """A teacher learns from the images that its student is given, or labels the rest of them."""
    if teacher.weights_file is not None and config.recipe.labels.pool != "rest":
        return teacher
    same = {"draw": config.draw, "regime_digest": config.regime_digest}
    return teacher.model_copy(update=same)


def _seed_from(seed: int) -> int:
    """31 bits for what is learned one step further back."""
    return int(digest_of(["assets", seed])[:8], 16) & 0x7FFFFFFF
