"""What several commands read from their arguments: studies, data blocks, facts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rethink_ray.commands.versions import versions
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.spec.backbone_code import code_of, own_backbones_of
from rethink_ray.spec.check import check_facts, check_regimes
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.load import find_study, load_study, put_override, validate
from rethink_ray.spec.regime import DataSpec, HoldoutSpec
from rethink_ray.spec.study import Study
from rethink_ray.spec.weight_files import weight_files_of


def data_spec_of(name: str, settings: Sequence[str]) -> DataSpec:
    """The data block of a study file, or of a data set named by its kind and ``settings``."""
    if name in ("shapes", "coco", "lvis", "voc"):
        tree: dict[str, Any] = {"dataset": name}
        for setting in settings:
            put_override(tree, setting)
        return validate(DataSpec, tree, "data")
    overrides = [s if s.startswith("data.") else f"data.{s}" for s in settings]
    study, _ = load_study(find_study(name), overrides)
    return study.data


def splits_of(data: DataSpec) -> list[str]:
    """Train and whatever the study would look at; a hold-out is part of train."""
    looked_at = [data.report_on]
    if not isinstance(data.select_on, HoldoutSpec):
        looked_at.insert(0, data.select_on)
    return list(dict.fromkeys(["train", *looked_at]))


def study_with_facts(
    name: str, settings: Sequence[str], *, starts: bool = True
) -> tuple[Study, str, DataFacts, Path]:
    """A study by file or stem, its YAML text, what its data are, and the file.

    ``starts``: false for one that is only planned, which may lack files of weights.
    """
    path = find_study(name)
    study, text = load_study(path, settings)
    return study, text, facts_of(study, str(path), starts=starts), path


def facts_of(study: Study, where: str, *, starts: bool = True) -> DataFacts:
    """What a study's data are, the files of weights it starts from, and foreign backbones' code.

    Raises:
        SpecError, DataError: its data are not there, show a picture in two splits, or do not hold
            its regimes or what its detectors learn from; a file, or the code of a backbone, is not
            there.
    """
    from rethink_ray.data.facts import gather_facts  # seconds: a typo is told before
    from rethink_ray.data.leaks import require_disjoint
    from rethink_ray.data.regimes import trainable_image_ids

    require_disjoint(study.data, where)
    check_regimes(study, len(trainable_image_ids(study.data)), where)
    files = weight_files_of(study, where) if starts else {}
    facts = gather_facts(study.data, study.regimes, files)
    if starts:
        own = own_backbones_of(study, where)
        codes = {name: code_of(name, key) for name, key in own.items()}
        facts = replace(facts, backbones=codes)
    check_facts(study, facts, where)
    return facts


def started_or_continued(root: str, study: Study, text: str, facts: DataFacts) -> StudyDirectory:
    """The directory of a study: a new one, or the one that stands there, perhaps grown."""
    if not StudyDirectory.holds_study(root):
        return StudyDirectory.create(root, study, text, facts, versions())
    directory = StudyDirectory.open(root)
    directory.continue_with(study, facts)
    return directory
