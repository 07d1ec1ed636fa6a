"""Starting, continuing and measuring a study: the one service under ``api`` and ``commands``.

Rooms that take seconds to import are imported inside the function that needs them.
"""

import platform
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rethink_ray.protocol.cell_rules import has_looks
from rethink_ray.protocol.extension import ADD_COMMAND, add_from_file, extend, fingerprint_of, merge
from rethink_ray.protocol.growth import require_same_comparisons
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.protocol.same_facts import merge_facts, require_same_facts
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.lock import writing
from rethink_ray.records.run_progress import read_progress
from rethink_ray.records.store import is_uri
from rethink_ray.search.measured_paces import PaceMeter
from rethink_ray.search.paces import PACE_SUFFIX, MeasuredPaces, read_paces
from rethink_ray.spec.assets import upstream_classes_of
from rethink_ray.spec.backbone_code import code_of, own_backbones_of
from rethink_ray.spec.check import check_facts, check_regimes
from rethink_ray.spec.draws import list_planned_draws
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.load import find_study, load_study
from rethink_ray.spec.networks import TIMM
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.study import Study
from rethink_ray.spec.weight_files import (
    hub_weights_of,
    label_files_of,
    loads_weights,
    require_known_inputs,
    states_known_input,
    weight_files_of,
)

PACKAGES = ("rethink-ray", "torch", "torchvision", "ray", "optuna", "scipy", "numpy", "hotcoco")
"""A study's numbers depend on these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyInput:
    """A checked study, ready to be planned or started."""

    study: Study
    yaml_text: str
    """Its file."""
    facts: DataFacts
    file: str = "FILE"
    """Its path, for messages; ``FILE`` where there is none."""


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
    return StudyInput(study=study, yaml_text=text, facts=facts, file=str(path))


def gather_study_facts(study: Study, where: str, *, is_planned_only: bool = False) -> DataFacts:
    """The facts of a study's data, of its files of weights and of the code of foreign backbones.

    Args:
        study: the study.
        where: its file, for errors.
        is_planned_only: files and code need not be there yet; files that are there are examined.

    Raises:
        SpecError, DataError: the data are missing, show a picture in two splits, or lack a regime
            or what the detectors learn from; a pool or an upstream set is missing; a file, weights
            of a hub, or the code of a backbone are missing; a file does not say how its pixels are
            normalised, or does not fit the networks of its runs; a stated input contradicts its
            weights; an upstream picture is in a split that scores.
    """
    _require_known_names(study, where)
    from rethink_ray.data.facts import gather_facts  # takes a second; a typo is reported before
    from rethink_ray.data.leaks import require_disjoint
    from rethink_ray.data.regimes import trainable_image_ids
    from rethink_ray.training.source_checks import require_sources, require_unseen_upstream

    require_disjoint(study.data, where)
    check_regimes(study, len(trainable_image_ids(study.data)), where)
    require_known_inputs(study, where)
    _require_stated_inputs(study, where)
    files = label_files_of(study, where)
    if not is_planned_only:
        files |= weight_files_of(study, where)
    upstream_classes, draws = upstream_classes_of(study), list_planned_draws(study)
    facts = gather_facts(study.data, study.regimes, files, upstream_classes, draws)
    if not is_planned_only:
        keys = own_backbones_of(study, where)
        facts = replace(
            facts,
            backbones={name: code_of(name, key) for name, key in keys.items()},
        )
    check_facts(study, facts, where)
    require_sources(study, where)
    require_unseen_upstream(study, where)
    published = {} if is_planned_only else _fetch_published(study, where)
    detector_files = _examine_files(study, where, is_planned_only=is_planned_only)
    if is_planned_only:
        return facts
    return replace(facts, files={**facts.files, **published}, detector_files=detector_files)


def _require_known_names(study: Study, where: str) -> None:
    """Names of timm's networks are known, before any picture is looked at."""
    if any(name.startswith(TIMM) for name in own_backbones_of(study, where)):
        from rethink_ray.training.start_checks import require_known_timm_names  # imports torch

        require_known_timm_names(study, where)


def _require_stated_inputs(study: Study, where: str) -> None:
    if states_known_input(study):
        from rethink_ray.training.published_starts import require_stated_inputs  # imports torch

        require_stated_inputs(study, where)


def _fetch_published(study: Study, where: str) -> dict[str, str]:
    """Downloads published weights that this machine lacks; name of a hub's -> its digest."""
    if not loads_weights(study):
        return {}
    from rethink_ray.training.published_starts import fetch_published  # imports torch

    return fetch_published(study, where)


def describe_hub_weights(study: Study) -> tuple[str, ...]:
    """Lines about the licence and the place of weights from a hub; none without such weights."""
    if not hub_weights_of(study, study.study):
        return ()
    from rethink_ray.training.published_starts import describe_downloads

    return tuple(describe_downloads(study, study.study))


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
        SpecError: the study names edits, which only a study that has begun can have.
        RecordError: there is a study already, or other files; a URI that does not answer.
    """
    if study.edits:
        must = "must be left out of a study file: the program writes it"
        raise SpecError(explain(f"{study.study}: edits", must, len(study.edits)))
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
    add_with = f"rethink-ray resume {shlex.quote(directory.address)} --study {given.file}"
    continue_study(directory, given.study, given.facts, add_with)
    return directory


def continue_study(
    directory: StudyDirectory, study: Study, facts: DataFacts, add_with: str = ADD_COMMAND
) -> bool:
    """The directory holds a study file given again, perhaps larger; True if that changed anything.

    Args:
        directory: the study.
        study: as its file says it now.
        facts: of its data.
        add_with: the command that adds arms, for messages.

    Raises:
        SpecError: it is another study, or has arms, regimes or claims that this one lacks.
        DataError: the data are not those the study was started on.
        RecordError: another process runs the study; its records are of another identity.
    """
    directory.require_own_identity()
    merge(directory.study, study, add_with)  # another study is refused without waiting for the lock
    require_same_facts(directory.facts, facts)
    with writing(directory.lock()):
        directory.reread()
        merged = merge(directory.study, study, add_with)
        _require_same_comparisons(directory, merged)
        return merged != directory.study and directory.restate(merged)


def edit_study(directory: StudyDirectory, given: StudyInput) -> bool:
    """The directory holds an edited study file: its new arms, regimes and claims are cells of their
    own from now on. True if that changed anything.

    Args:
        directory: the study.
        given: the edited file, checked against its data.

    Raises:
        SpecError: the file changes or removes something.
        DataError: the data are not those the study was started on.
        RecordError: another process runs the study; its records are of another identity.
    """
    directory.require_own_identity()
    add_from_file(directory.study, given.study, given.file, has_results=True)
    merge_facts(directory.facts, given.facts)
    with writing(directory.lock()):
        directory.reread()
        has_results = bool(directory.load_state().rungs)
        study = add_from_file(directory.study, given.study, given.file, has_results=has_results)
        _require_same_comparisons(directory, study)
        facts = merge_facts(directory.facts, given.facts)
        if study == directory.study:
            return directory.restate(study)
        return directory.restate_with(study, facts, None if has_results else fingerprint_of(study))


def require_same_inputs(directory: StudyDirectory) -> None:
    """Files, downloaded weights and code of a study that has jobs left are as it was started with.

    A study file given again is compared by ``continue_study``; this is for a study's directory.

    Raises:
        DataError: a file, weights of a hub, or the code of a backbone are others now, or are gone.
        SpecError: the code of a backbone, or weights of a hub, cannot be found.
    """
    facts, study = directory.facts, directory.study
    if progress_of(study, directory.load_state()).complete:
        return
    from rethink_ray.data.facts import digest_of_file  # takes a second

    paths = label_files_of(study, study.study) | weight_files_of(study, study.study)
    files = {path: digest_of_file(path, f"file {path}") for path in paths}
    files |= _fetch_published(study, study.study)
    keys = own_backbones_of(study, study.study)
    backbones = {name: code_of(name, keys.get(name, study.study)) for name in facts.backbones}
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
        _require_same_comparisons(directory, larger)
        return directory.restate(larger)


def _require_same_comparisons(directory: StudyDirectory, larger: Study) -> None:
    if has_looks(larger):
        require_same_comparisons(directory.study, larger, directory.load_state().looks_taken)


def load_paces(where: str) -> MeasuredPaces:
    """The paces in a file, or those at which the study in a directory ran.

    Raises:
        SpecError: the file holds no paces, or the study has not finished a rung.
        RecordError: the study cannot be read.
    """
    if not is_uri(where) and not Path(where).is_dir():
        return read_paces(Path(where))
    directory = StudyDirectory.open(where)
    measured = measure_paces(directory)
    if measured is None:
        must = "must be of a study that has finished a rung"
        raise SpecError(explain(where, must, "none so far"))
    return measured


def find_paces(name: str) -> MeasuredPaces | None:
    """The paces that ``new`` wrote beside a study file; None: there are none.

    Raises:
        SpecError: there is no such study, or the file holds no paces.
    """
    path = find_study(name).with_suffix(PACE_SUFFIX)
    return read_paces(path) if path.is_file() else None


def measure_paces(directory: StudyDirectory) -> MeasuredPaces | None:
    """The paces at which a study has run so far; None before its first rung is finished."""
    state = directory.load_state()
    if not state.rungs:
        return None
    hosts = dict.fromkeys(rung.host for rung in state.rungs.values())
    seen = read_progress(directory)
    paces = PaceMeter(directory.study, directory.facts).paces(state)
    return MeasuredPaces(
        machine=", ".join(host or "?" for host in hosts),
        slots=1 if seen is None else seen.slots,
        arms=dict(paces),
    )


def collect_versions() -> dict[str, str]:
    """Package -> version on this machine, without importing any; ``python`` is the interpreter."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def describe_labels(study: Study) -> Iterator[str]:
    """What files of imported labels hold, for a plan; nothing where a study imports none."""
    if not label_files_of(study, study.study):
        return
    from rethink_ray.training.source_checks import describe_imported_labels

    yield from describe_imported_labels(study)


def count_weights(config: TrialConfig) -> int:
    """Weights of a trial's detector, for the disk estimate of a plan."""
    from rethink_ray.detection.size import num_weights

    return num_weights(config.recipe.detector, config.num_categories)
