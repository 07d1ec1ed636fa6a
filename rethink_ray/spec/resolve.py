"""From a study to one run: the cells, their spaces, and the configuration of one trial."""

from collections.abc import Mapping
from dataclasses import dataclass

from rethink_ray.spec.edits import count_looks_before
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import digest_of, seed_of_assets
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.settings import LENGTH_PATH, settled_paths, used_value_at, with_settings
from rethink_ray.spec.space import Parameter, Value
from rethink_ray.spec.study import CopyFrom, Study, TeacherFile
from rethink_ray.spec.trial_config import ExportedConfig as ExportedConfig
from rethink_ray.spec.trial_config import TrialConfig as TrialConfig
from rethink_ray.spec.trial_config import UpstreamImages, uses_upstream_detector
from rethink_ray.spec.weight_keys import weights_key


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One regime and one arm: the unit of fair comparison; or one of several searches of it."""

    regime: str
    arm: str
    search: int = 0
    """Number of the independent search (``budget.searches``), from 0."""

    @property
    def name(self) -> str:
        """``regime/arm``; from the second search on ``regime/arm/2``."""
        plain = f"{self.regime}/{self.arm}"
        return f"{plain}/{self.search + 1}" if self.search else plain

    def of_arm(self, arm: str) -> "Cell":
        """Another arm in the same regime; its search of the same number."""
        return Cell(self.regime, arm, self.search)


def cells_of(study: Study) -> tuple[Cell, ...]:
    """Every cell, regimes in the file's order, arms inside them; added cells come last."""
    cells = [Cell(regime, arm) for regime in study.regimes for arm in study.arms]
    return _put_added_last(study, cells)


def _put_added_last(study: Study, cells: list[Cell]) -> tuple[Cell, ...]:
    """The cells in their order, those of each edit after all that were there before it."""
    if not study.edits:
        return tuple(cells)
    return tuple(sorted(cells, key=lambda c: count_looks_before(study, c.regime, c.arm)))


def searches_of(study: Study) -> tuple[Cell, ...]:
    """Every search of every cell: the first search of all cells, then the second, ...

    Searches of cells that were added come last.
    """
    numbers = range(study.budget.num_searches)
    searches = [Cell(c.regime, c.arm, number) for number in numbers for c in cells_of(study)]
    return _put_added_last(study, searches)


def copied_cell(study: Study, cell: Cell) -> Cell | None:
    """The cell whose values this one copies (He et al.'s protocol); ``None`` if it is tuned."""
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
    """The parameters that a cell searches: those of study and arm, without the paths that the arm
    or the regime sets."""
    fixed = settled_paths(study.arms[cell.arm].set) | settled_paths(study.regimes[cell.regime].set)
    searched = study.search | study.arms[cell.arm].search
    return {path: p for path, p in searched.items() if path not in fixed}


def base_values(study: Study, cell: Cell) -> dict[str, Value]:
    """The base recipe's value at every path of the cell's space and of its conditions."""
    space = space_of(study, cell)
    recipe = base_recipe(study, cell)
    paths = dict.fromkeys([*space, *(c for p in space.values() for c in p.when)])
    return {path: used_value_at(recipe, path) for path in paths}


def lengths_of(study: Study, cell: Cell) -> tuple[float, ...]:
    """The ladder of a cell; where the length is searched, its options in rising order."""
    searched = space_of(study, cell).get(LENGTH_PATH)
    if searched is None:
        return base_recipe(study, cell).schedule.lengths
    assert searched.choice is not None, "check_study allows only choices of length"
    return tuple(sorted(float(c) for c in searched.choice if isinstance(c, int | float)))


def keep_of(study: Study, cell: Cell) -> tuple[int, ...]:
    """How many trials of a round run each length; without ``budget.keep`` they are halved from
    length to length.

    On a ladder that has grown longer than ``keep``, its last entry holds for the new lengths.
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
    """The detector in a file that teaches a cell, as a run that is not trained; ``None`` where no
    file teaches it."""
    teacher = study.arms[cell.arm].teacher
    if not isinstance(teacher, TeacherFile):
        return None
    config = with_recipe(_unseeded(study, cell, facts), recipe_of_file(study, cell), facts)
    digest = facts.files.get(teacher.file, "")
    return config.model_copy(update={"weights_file": teacher.file, "weights_digest": digest})


def recipe_of_file(study: Study, cell: Cell) -> Recipe:
    """The recipe of the teacher in a file: the arm's detector and evaluation, with ``teacher.set``.

    Neither sampled values nor settings of training enter it.
    """
    teacher, students = study.arms[cell.arm].teacher, base_recipe(study, cell)
    assert isinstance(teacher, TeacherFile), "only a cell that a file teaches has such a recipe"
    recipe = Recipe(
        detector=students.detector.model_copy(update={"cascade_from": 0}),
        evaluation=students.evaluation,
        batch_size=students.batch_size,
        precision=students.precision,
    )
    return with_settings(recipe, teacher.set, f"arms.{cell.arm}.teacher.set")


def with_recipe(config: TrialConfig, recipe: Recipe, facts: DataFacts) -> TrialConfig:
    """The same run with another recipe, which may have other weights or another backbone."""
    is_imported = recipe.labels.kind == "imported"
    update = {
        "recipe": recipe,
        "weights_digest": facts.files.get(weights_key(recipe.init, recipe.detector.backbone), ""),
        "labels_digest": facts.files.get(recipe.labels.file or "", "") if is_imported else "",
        "backbone_code": facts.backbones.get(recipe.detector.backbone, ""),
        "upstream_images": _upstream_images(recipe, facts),
        "family_code": facts.backbones.get(recipe.detector.family, ""),
    }
    return config.model_copy(update=update)


def _upstream_images(recipe: Recipe, facts: DataFacts) -> UpstreamImages | None:
    """What the run's upstream detector learns from; ``None`` if it starts from none."""
    upstream = facts.upstream_detection
    if upstream is None or not uses_upstream_detector(recipe):
        return None
    return UpstreamImages(
        data_fingerprint=upstream.fingerprint,
        regime_digest=upstream.regime_digests["all"],
        num_images=upstream.regime_sizes["all"],
        categories=upstream.categories,
    )


def with_draw(config: TrialConfig, draw: int, facts: DataFacts) -> TrialConfig:
    """The same run on another draw of its regime's images; 0 is the regime itself."""
    if not draw:
        return config
    size = facts.regime_sizes[config.regime]
    digest = digest_of_draw(facts.train_digest, config.data.subset_seed, size, draw)
    return config.model_copy(update={"draw": draw, "regime_digest": digest})


def digest_of_draw(train_digest: str, subset_seed: int, num_images: int, draw: int) -> str:
    """16 hex digits that name the images of a draw, without reading any of them.

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
    """The same run under other seeds, and so is everything that it learns from its regime's images.

    The teacher is trained under ``asset_seed``, and the teacher's own assets under a seed derived
    from it. A teacher in a file keeps its weights.
    """
    is_taught = config.recipe.labels.has_teacher
    same_images = None if teacher is None or not is_taught else _on_images_of(config, teacher)
    is_file = same_images is not None and same_images.weights_file is not None
    learns = (is_taught and not is_file) or config.recipe.init.source == "direct"
    used_seed = asset_seed if learns else None
    seeded = same_images if is_file else None
    if same_images is not None and not is_file:
        assert used_seed is not None, "a run whose teacher is trained has a seed for its assets"
        seeded = with_seeds(same_images, used_seed, seed_of_assets(used_seed), same_images.teacher)
    update = {"seed": seed, "asset_seed": used_seed, "teacher": seeded}
    return config.model_copy(update=update)


def _on_images_of(config: TrialConfig, teacher: TrialConfig) -> TrialConfig:
    """The teacher on its student's draw of images: it learns from them, or labels the others."""
    if teacher.weights_file is not None and config.recipe.labels.pool != "rest":
        return teacher
    same = {"draw": config.draw, "regime_digest": config.regime_digest}
    return teacher.model_copy(update=same)
