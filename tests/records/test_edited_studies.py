"""An edited study file adds arms, regimes and claims to a directory; everything else is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rethink_ray.cluster.resume import resume_lines
from rethink_ray.protocol.extension import add_from_file, fingerprint_of, merge
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.session import (
    StudyInput,
    continue_study,
    edit_study,
    extend_study,
    start_or_continue,
    start_study,
)
from rethink_ray.spec.claim import claims_digest
from rethink_ray.spec.edits import select_declared_claims, select_post_hoc
from rethink_ray.spec.errors import DataError, RecordError, SpecError
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.study import Study
from tests.full_disk import file_size_limit
from tests.records.small_records import FACTS, proposed, rung, small_study
from tests.refusals import refused

BN: dict[str, Any] = {"set": {"detector.norm": "bn"}}
CLAIM = {"says": "bn ends above scratch", "side": {"arm": "bn"}, "against": {"arm": "scratch"}}
ARMS: dict[str, Any] = {"scratch": {}, "bn": BN}
REGIMES = {"full": {"images": "all"}, "half": {"images": 6}}
HALF = replace(
    FACTS, regime_sizes={"full": 12, "half": 6}, regime_digests={"full": "a", "half": "b"}
)


def started(tmp_path: Path, *, with_result: bool = True) -> StudyDirectory:
    directory = start_study(tmp_path / "s", small_study(), "study: small\n", FACTS, {})
    if with_result:
        directory.log.append(proposed("t1", "t2", "t3", "t4"))
        directory.log.append(rung("t1", 2.0, 20.0))
    return directory


def given(facts: DataFacts = FACTS, **changes: Any) -> StudyInput:
    return StudyInput(study=small_study(**changes), yaml_text="", facts=facts, file="edited.yaml")


def test_an_edited_file_adds_arms_regimes_and_claims(tmp_path: Path) -> None:
    directory = started(tmp_path)
    assert edit_study(directory, given(HALF, arms=ARMS, regimes=REGIMES, claims={"late": CLAIM}))
    again = StudyDirectory.open(tmp_path / "s")
    assert [*again.study.arms] == ["scratch", "bn"]
    assert [*again.study.regimes] == ["full", "half"]
    (edit,) = again.study.edits
    assert (edit.arms, edit.regimes, edit.claims) == (("bn",), ("half",), ("late",))
    assert again.facts == HALF
    assert select_post_hoc(again.study) == {"late"}


def test_the_study_keeps_its_fingerprint_and_its_declared_claims(tmp_path: Path) -> None:
    directory = started(tmp_path)
    before = (directory.fingerprint, directory.claims_digest)
    edit_study(directory, given(arms=ARMS, claims={"late": CLAIM}))
    again = StudyDirectory.open(tmp_path / "s")
    assert (again.fingerprint, again.claims_digest) == before
    assert fingerprint_of(again.study) == again.fingerprint
    assert claims_digest(select_declared_claims(again.study)) == again.claims_digest


def test_before_the_first_result_an_addition_counts_as_there_from_the_start(
    tmp_path: Path,
) -> None:
    directory = started(tmp_path, with_result=False)
    edit_study(directory, given(arms=ARMS, claims={"early": CLAIM}))
    again = StudyDirectory.open(tmp_path / "s")
    assert again.study.edits == ()
    assert select_declared_claims(again.study).keys() == {"early"}
    assert again.claims_digest == claims_digest(again.study.claims)
    assert again.fingerprint == fingerprint_of(small_study(arms=ARMS, claims={"early": CLAIM}))


def test_the_edited_file_again_changes_nothing_and_run_goes_on_with_it(tmp_path: Path) -> None:
    directory = started(tmp_path)
    edit_study(directory, given(HALF, arms=ARMS, regimes=REGIMES))
    assert not edit_study(directory, given(HALF, arms=ARMS, regimes=REGIMES))
    study = small_study(arms=ARMS, regimes=REGIMES)
    assert not continue_study(directory, study, HALF)
    assert len(StudyDirectory.open(tmp_path / "s").study.edits) == 1


def test_an_edit_may_also_enlarge_the_budget_and_be_enlarged_later(tmp_path: Path) -> None:
    directory = started(tmp_path)
    edit_study(directory, given(arms=ARMS, budget={"trials": 8, "keep": [4, 2], "replicates": 3}))
    assert directory.study.budget.trials == 8
    assert extend_study(directory, replicates=5, lengths=[9.0])
    again = StudyDirectory.open(tmp_path / "s").study
    assert again.schedule.lengths == (2.0, 4.0, 9.0)
    assert again.edits[0].arms == ("bn",)


def test_resume_says_what_was_added(tmp_path: Path) -> None:
    directory = started(tmp_path, with_result=False)
    before = directory.study
    edit_study(directory, given(HALF, arms=ARMS, regimes=REGIMES))
    lines = resume_lines(directory, before)
    assert "added: arms.bn, regimes.half (3 cells more)" in lines
    assert not [line for line in lines if line.startswith("budget")]


def test_each_edit_is_noted_by_itself(tmp_path: Path) -> None:
    directory = started(tmp_path)
    edit_study(directory, given(arms=ARMS))
    third = {**ARMS, "slow": {"set": {"optimizer.momentum": 0.8}}}
    edit_study(directory, given(arms=third))
    assert [edit.arms for edit in directory.study.edits] == [("bn",), ("slow",)]


def test_run_names_the_command_that_adds_an_arm(tmp_path: Path) -> None:
    started(tmp_path)
    with refused(SpecError, "records", "run with one more arm", tmp_path):
        start_or_continue(tmp_path / "s", given(HALF, arms=ARMS, regimes=REGIMES))


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("another range", {"search": {"optimizer.lr": {"log_uniform": [0.002, 0.2]}}}),
        ("another setting", {"settings": {"optimizer.momentum": 0.8}}),
        ("another recipe", {"recipe": "tiny_fcos"}),
        ("another arm of the same name", {"arms": {"scratch": BN}}),
        ("another size of a regime", {"regimes": {"full": {"images": 6}}}),
        ("no old arm", {"arms": {"bn": BN}}),
        ("another seed", {"seed": 1}),
    ],
)
def test_what_a_cell_is_made_of_cannot_be_edited(
    tmp_path: Path, key: str, change: dict[str, Any]
) -> None:
    directory = started(tmp_path)
    before = (tmp_path / "s" / "resolved.json").read_bytes()
    with refused(SpecError, "records", f"edited: {key}"):
        edit_study(directory, given(**change))
    assert (tmp_path / "s" / "resolved.json").read_bytes() == before


def test_a_declared_claim_can_be_neither_changed_nor_removed(tmp_path: Path) -> None:
    arms = ARMS
    study = small_study(arms=arms, claims={"early": CLAIM})
    for claims in ({}, {"early": {**CLAIM, "expect": "equal"}}):
        with pytest.raises(SpecError, match="claims"):
            add_from_file(study, small_study(arms=arms, claims=claims), "f", has_results=True)


def test_an_added_arm_that_cannot_run_is_refused_and_the_study_stays(tmp_path: Path) -> None:
    directory = started(tmp_path)
    tree = json.loads(small_study().model_dump_json(exclude_unset=True))
    tree["arms"]["student"] = {"set": {"labels.kind": "self_training"}, "teacher": "absent"}
    student = Study.model_validate_json(json.dumps(tree))
    with pytest.raises(SpecError, match=r"edited\.yaml.*student"):
        edit_study(directory, replace(given(), study=student))
    assert [*StudyDirectory.open(tmp_path / "s").study.arms] == ["scratch"]


def test_other_data_are_refused_whatever_is_added(tmp_path: Path) -> None:
    directory = started(tmp_path)
    other = replace(HALF, regime_digests={"full": "other", "half": "b"})
    with pytest.raises(DataError, match="data"):
        edit_study(directory, given(other, arms=ARMS, regimes=REGIMES))
    weights = replace(FACTS, files={"w.pt": "1"})
    edit_study(directory, given(weights, arms=ARMS))
    assert StudyDirectory.open(tmp_path / "s").facts.files == {"w.pt": "1"}
    with pytest.raises(DataError, match=r"w\.pt"):
        edit_study(directory, given(replace(FACTS, files={"w.pt": "2"}), arms=ARMS))


def test_an_edit_that_the_disk_refuses_leaves_the_study_as_it_was(tmp_path: Path) -> None:
    directory = started(tmp_path)
    before = (tmp_path / "s" / "resolved.json").read_bytes()
    with file_size_limit(len(before) // 2), pytest.raises(RecordError, match="writable"):
        edit_study(directory, given(arms=ARMS))
    assert (tmp_path / "s" / "resolved.json").read_bytes() == before
    assert not continue_study(StudyDirectory.open(tmp_path / "s"), small_study(), FACTS)


def test_a_file_that_names_edits_starts_no_study(tmp_path: Path) -> None:
    study = small_study(arms=ARMS, edits=[{"arms": ["bn"]}])
    with pytest.raises(SpecError, match="edits"):
        start_study(tmp_path / "s", study, "", FACTS, {})


def test_a_study_without_edits_is_written_as_before(tmp_path: Path) -> None:
    root = started(tmp_path).root
    assert "edits" not in json.loads((root / "resolved.json").read_text())["study"]
    assert merge(small_study(), small_study()) == small_study()
    assert Study.model_validate_json(small_study().model_dump_json()).edits == ()
