"""Starting, continuing and measuring a study: the one service under ``api`` and ``commands``.

Rooms that take seconds to import are imported inside the function that needs them.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rethink_ray.protocol.extension import extend, fingerprint_of, merge
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.protocol.same_facts import require_same_facts
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.lock import writing
from rethink_ray.spec.assets import upstream_classes_of
from rethink_ray.spec.backbone_code import code_of, own_backbones_of
from rethink_ray.spec.check import check_facts, check_regimes
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.load import find_study, load_study
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.study import Study
from rethink_ray.spec.weight_files import loads_weights, require_known_inputs, weight_files_of

PACKAGES = ("rethink-ray", "torch", "torchvision", "ray", "optuna", "scipy", "numpy", "hotcoco")
"""A study's numbers depend on these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyInput:
    """A checked study, ready to be planned or started."""

    study: Study
    yaml_text: str
    """Its file."""
    facts: DataFacts


def load_study_input(
    name: str, settings: Sequence[str] = (), *, is_planned_only: bool = False
) -> StudyInput:
    """A study by file or stem, checked against its data.

    Args:
        name: a path, or the name of a study that ships.
        settings: ``path=value``, over the file.
        is_planned_only: files of weights may be missing.

    Raises:
        SpecError, DataError: as ``gather_study_facts``, or the file holds no study.
    """
    path = find_study(name)
    study, text = load_study(path, settings)
    facts = gather_study_facts(study, str(path), is_planned_only=is_planned_only)
    return StudyInput(study=study, yaml_text=text, facts=facts)


def gather_study_facts(study: Study, where: str, *, is_planned_only: bool = False) -> DataFacts:
    """The facts of a study's data, of its files of weights and of the code of foreign backbones.

    Args:
        study: the study.
        where: its file, for errors.
        is_planned_only: files and code need not be there yet; files that are there are examined.

    Raises:
        SpecError, DataError: the data are missing, show a picture in two splits, or lack a regime
            or what the detectors learn from; a pool or an upstream set is missing; a file, or the
            code of a backbone, is missing; a file does not say how its pixels are normalised, or
            does not fit the networks of its runs; an upstream picture is in a split that scores.
    """
    from rethink_ray.data.facts import gather_facts  # takes a second; a typo is reported before
    from rethink_ray.data.leaks import require_disjoint
    from rethink_ray.data.regimes import trainable_image_ids
    from rethink_ray.training.source_checks import require_sources, require_unseen_upstream

    require_disjoint(study.data, where)
    check_regimes(study, len(trainable_image_ids(study.data)), where)
    require_known_inputs(study, where)
    files = {} if is_planned_only else weight_files_of(study, where)
    facts = gather_facts(study.data, study.regimes, files, upstream_classes_of(study))
    if not is_planned_only:
        keys = own_backbones_of(study, where)
        facts = replace(
            facts,
            backbones={name: code_of(name, key) for name, key in keys.items()},
        )
    check_facts(study, facts, where)
    require_sources(study, where)
    require_unseen_upstream(study, where)
    detector_files = _examine_files(study, where, is_planned_only=is_planned_only)
    return facts if is_planned_only else replace(facts, detector_files=detector_files)


def _examine_files(study: Study, where: str, *, is_planned_only: bool) -> tuple[str, ...]:
    """Loads every file of weights and builds every backbone of other code, before a run does.

    A plan passes over files that are not there yet, and runs no code but ours.

    Returns the files that hold a whole detector.
    """
    runs_other_code = not is_planned_only and own_backbones_of(study, where)
    if not loads_weights(study) and not runs_other_code:
        return ()
    from rethink_ray.training.start_checks import (  # imports torch
        require_buildable,
        require_fitting_weights,
    )

    if runs_other_code:
        require_buildable(study, where)
    return require_fitting_weights(study, where, may_be_missing=is_planned_only)


def start_study(
    where: Path | str,
    study: Study,
    yaml_text: str,
    facts: DataFacts,
    versions: Mapping[str, str] | None = None,
) -> StudyDirectory:
    """A new study is at ``where``, a path or a URI, before its first result.

    ``versions`` are of this machine unless given.

    Raises:
        RecordError: there is a study already, or other files; a URI that does not answer.
    """
    return StudyDirectory.create(
        where,
        study,
        yaml_text,
        facts,
        fingerprint=fingerprint_of(study),
        versions=collect_versions() if versions is None else versions,
    )


def start_or_continue(where: Path | str, given: StudyInput) -> StudyDirectory:
    """The directory of a study: a new one, or the one at ``where``, perhaps larger now.

    Raises:
        SpecError, DataError, RecordError: as ``start_study`` and ``continue_study``.
    """
    if not StudyDirectory.holds_study(where):
        return start_study(where, given.study, given.yaml_text, given.facts)
    directory = StudyDirectory.open(where)
    continue_study(directory, given.study, given.facts)
    return directory


def continue_study(directory: StudyDirectory, study: Study, facts: DataFacts) -> bool:
    """The directory holds a study file given again, perhaps larger; True if that changed anything.

    Raises:
        SpecError: it is another study.
        DataError: the data are not those the study was started on.
        RecordError: another process runs the study; its records are of another identity.
    """
    directory.require_own_identity()
    require_same_facts(directory.facts, facts)
    merge(directory.study, study)  # another study is refused without waiting for the lock
    with writing(directory.lock()):
        directory.reread()
        merged = merge(directory.study, study)
        return merged != directory.study and directory.restate(merged)


def require_same_inputs(directory: StudyDirectory) -> None:
    """The files of weights and the code of a study that has jobs left are as when it was started.

    A study file given again is compared by ``continue_study``; this is for a study's directory.

    Raises:
        DataError: a file, or the code of a backbone, is another one now, or is gone.
        SpecError: the code of a backbone cannot be found.
    """
    facts = directory.facts
    if progress_of(directory.study, directory.load_state()).complete:
        return
    from rethink_ray.data.facts import digest_of_file  # takes a second

    files = {path: digest_of_file(path, f"weights {path}") for path in facts.files}
    backbones = {name: code_of(name, "detector.backbone") for name in facts.backbones}
    require_same_facts(facts, replace(facts, files=files, backbones=backbones))


def extend_study(
    directory: StudyDirectory,
    *,
    trials: int | None = None,
    replicates: int | None = None,
    searches: int | None = None,
    lengths: Sequence[float] | None = None,
) -> bool:
    """The study has this budget and ladder from now on; True if that changed anything.

    Args:
        directory: the study.
        trials: search trials per cell, the old ones counted; None: as many as before.
        replicates: replicates per incumbent, the old ones counted.
        searches: searches per cell, the old ones counted.
        lengths: the whole new ladder, or only the lengths to append to it.

    Raises:
        SpecError: something would shrink, or is not free to change.
        RecordError: another process runs the study; its records are of another identity.
    """
    directory.require_own_identity()
    with writing(directory.lock()):
        directory.reread()
        larger = extend(
            directory.study,
            trials=trials,
            replicates=replicates,
            searches=searches,
            lengths=lengths,
        )
        return directory.restate(larger)


def collect_versions() -> dict[str, str]:
    """Package -> version on this machine, without importing any; ``python`` is the interpreter."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def count_weights(config: TrialConfig) -> int:
    """Weights of a trial's detector, for the disk estimate of a plan."""
    from rethink_ray.detection.size import num_weights

    return num_weights(config.recipe.detector, config.num_categories)
