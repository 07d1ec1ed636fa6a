"""One configuration of a study on all of its labelled pictures, by the code of any single run."""

from pathlib import Path

from rethink_ray.data.facts import gather_facts
from rethink_ray.data.merged import write_merged
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.regime import DataSpec, RegimeSpec
from rethink_ray.spec.resolve import TrialConfig


def resolve_final(config: TrialConfig, folder: Path) -> TrialConfig:
    """The same run on every picture of train and of the scoring splits, listed in ``folder``.

    Updates, batch and rates stay: more pictures mean fewer passes over each of them.

    Raises:
        SpecError: its teacher labels the rest of the training images, and no rest is left.
        DataError: a split of the data set cannot be opened.
    """
    if config.recipe.labels.has_pseudo and config.recipe.labels.pool == "rest":
        must = "must be unlabelled to train on all labelled pictures: no rest is left to label"
        remedy = "Name pictures in data.unlabelled, or train another arm's configuration."
        raise SpecError(explain(f"{config.arm}: labels.pool", must, "rest", remedy))
    data = write_merged(config.data, folder)
    facts = gather_facts(data, {config.regime: RegimeSpec(images="all")})
    return _move_to(config, data, facts)


def _move_to(config: TrialConfig, data: DataSpec, facts: DataFacts) -> TrialConfig:
    """The run, and its teacher's if that is trained here, on other data."""
    assert len(facts.categories) == config.num_categories, "all splits share train's categories"
    teacher = config.teacher
    if teacher is not None and teacher.weights_file is None:
        teacher = _move_to(teacher, data, facts)
    update = {
        "data": data,
        "images": "all",
        "data_fingerprint": facts.fingerprint,
        "regime_digest": facts.regime_digests[config.regime],
        "unlabelled_fingerprint": facts.unlabelled_fingerprint,
        "num_images": facts.regime_sizes[config.regime],
        "draw": 0,
        "teacher": teacher,
    }
    return config.model_copy(update=update)
