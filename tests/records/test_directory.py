"""A study directory keeps what it was started with and grows only where it may."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rethink_ray.protocol.extension import extend, fingerprint_of, merge
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.lock import writing
from rethink_ray.records.store import Store
from rethink_ray.records.types import JobFailed
from rethink_ray.session import continue_study, extend_study, start_study
from rethink_ray.spec.errors import DataError, RecordError, SpecError
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import Cell, keep_of, lengths_of
from rethink_ray.spec.study import Study
from tests.object_store import object_store
from tests.records.small_records import FACTS, small_study
from tests.refusals import refused


def started(tmp_path: Path) -> StudyDirectory:
    return start_study(tmp_path / "s", small_study(), "study: small\n", FACTS, {"x": "1"})


def test_a_study_is_opened_as_it_was_created(tmp_path: Path) -> None:
    created = started(tmp_path)
    opened = StudyDirectory.open(tmp_path / "s")
    assert opened.study == created.study == small_study()
    assert opened.facts == FACTS
    assert opened.versions == {"x": "1"}
    assert opened.fingerprint == fingerprint_of(small_study())
    assert (tmp_path / "s" / "study.yaml").read_text() == "study: small\n"


def test_a_folder_with_other_files_or_a_study_is_not_taken(tmp_path: Path) -> None:
    started(tmp_path)
    with refused(RecordError, "records", "a study is there already", tmp_path):
        started(tmp_path)
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "thesis.tex").touch()
    with refused(RecordError, "records", "other files are there", tmp_path):
        start_study(tmp_path / "t", small_study(), "", FACTS, {})


def test_a_folder_without_a_study_says_so(tmp_path: Path) -> None:
    with refused(RecordError, "records", "no study is there", tmp_path):
        StudyDirectory.open(tmp_path)


@pytest.mark.parametrize("content", ["{", "{}", '{"format": 99}'])
def test_a_resolved_file_that_cannot_be_understood_is_named(tmp_path: Path, content: str) -> None:
    started(tmp_path)
    (tmp_path / "s" / "resolved.json").write_text(content)
    with pytest.raises(RecordError, match=r"resolved\.json"):
        StudyDirectory.open(tmp_path / "s")


def test_a_larger_budget_survives_on_disk(tmp_path: Path) -> None:
    directory = started(tmp_path)
    assert extend_study(directory, trials=8, replicates=5, lengths=[9.0])
    again = StudyDirectory.open(directory.root).study
    assert (again.budget.trials, again.budget.replicates) == (8, 5)
    assert again.schedule.lengths == (2.0, 4.0, 9.0)
    assert not extend_study(directory, trials=8)
    assert StudyDirectory.open(directory.root).fingerprint == fingerprint_of(again)


def test_how_old_rounds_were_halved_is_pinned_when_the_budget_grows() -> None:
    study = small_study(budget={"trials": 4, "replicates": 0})
    cell = Cell("full", "scratch")
    assert keep_of(study, cell) == (4, 2)
    larger = extend(study, trials=12, lengths=[9.0])
    assert keep_of(larger, cell) == (4, 2, 2)
    assert lengths_of(larger, cell) == (2.0, 4.0, 9.0)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"trials": 3}, "--trials.* 4"),
        ({"replicates": 0}, "--replicates.* 1"),
        ({"lengths": [3.0]}, "--lengths.* 4x"),
        ({"lengths": [float("nan")]}, "--lengths.* zero"),
        ({"lengths": [float("inf")]}, "--lengths.* zero"),
    ],
)
def test_nothing_shrinks(change: dict[str, object], facts: str) -> None:
    with pytest.raises(SpecError, match=facts):
        extend(small_study(), **change)  # type: ignore[arg-type]


def test_a_ladder_that_an_arm_fixes_for_itself_cannot_grow() -> None:
    study = small_study(
        arms={"scratch": {}, "short": {"set": {"schedule.lengths": [2.0, 3.0]}}},
    )
    with pytest.raises(SpecError, match="full/short.*ladder"):
        extend(study, lengths=[9.0])


def test_the_same_file_again_changes_nothing(tmp_path: Path) -> None:
    directory = started(tmp_path)
    assert not continue_study(directory, small_study(), FACTS)
    extend_study(directory, trials=8, lengths=[9.0])
    assert not continue_study(directory, small_study(), FACTS)
    assert directory.study.budget.trials == 8
    assert directory.study.budget.keep == (4, 2, 2)
    assert directory.study.schedule.lengths == (2.0, 4.0, 9.0)


def test_what_two_processes_add_to_a_study_one_after_the_other_is_all_kept(tmp_path: Path) -> None:
    started(tmp_path)
    first, second, third = (StudyDirectory.open(tmp_path / "s") for _ in range(3))
    extend_study(first, trials=8)
    extend_study(second, replicates=5)
    budget = {"trials": 4, "keep": [4, 2], "replicates": 1, "searches": 2}
    continue_study(third, small_study(budget=budget), FACTS)
    kept = StudyDirectory.open(tmp_path / "s").study.budget
    assert (kept.trials, kept.replicates, kept.searches) == (8, 5, 2)


def test_a_file_with_a_larger_budget_and_a_longer_ladder_continues_the_study() -> None:
    longer = {"unit": 10, "lengths": [2.0, 4.0, 6.0], "warmup": 2, "decay": {"before_end": [0.5]}}
    given = small_study(
        schedule=longer, budget={"trials": 6, "keep": [4, 2, 1], "replicates": 3}, question="why?"
    )
    merged = merge(small_study(), given)
    assert merged.budget.trials == 6
    assert merged.schedule.lengths == (2.0, 4.0, 6.0)
    assert merged.budget.keep == (4, 2, 1), "as the file says, not as the old ladder ended"
    assert merged.question == "why?"


def test_a_file_that_halves_old_rounds_otherwise_is_refused() -> None:
    given = small_study(budget={"trials": 4, "keep": [4, 3], "replicates": 1})
    with pytest.raises(SpecError, match=r"budget.keep.* \[4, 2\].*\[4, 3\]"):
        merge(small_study(), given)


def test_cells_with_shorter_ladders_are_pinned_by_the_longest() -> None:
    study = small_study(
        arms={"scratch": {}, "short": {"set": {"schedule.lengths": [2.0]}}},
        budget={"trials": 4, "replicates": 0},
    )
    larger = extend(study, trials=12)
    assert keep_of(larger, Cell("full", "scratch")) == (4, 2)
    assert keep_of(larger, Cell("full", "short")) == (4,)


def test_a_study_that_runs_is_not_changed_by_another_process(tmp_path: Path) -> None:
    directory = started(tmp_path)
    given = small_study(budget={"trials": 8, "keep": [4, 2], "replicates": 1})
    before = (directory.root / "resolved.json").read_bytes()
    with (
        writing(directory.lock_path),
        refused(RecordError, "records", "another process runs the study", tmp_path),
    ):
        continue_study(StudyDirectory.open(directory.root), given, FACTS)
    assert (directory.root / "resolved.json").read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="file"):
        start_study(tmp_path / "file" / "s", small_study(), "", FACTS, {})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 1}, r"seed is 1 \(started with 0\)"),
        ({"margin": 1.0}, r"margin is 1.0 \(started with 0.5\)"),
        (
            {"search": {}},
            r"search.optimizer.lr is left out .started with ..log_uniform.: .0.002, 0.1...; .*",
        ),
        ({"recipe": "tiny_fcos"}, r"recipe is tiny_fcos \(started with tiny_retinanet\)"),
    ],
)
def test_another_study_is_refused_with_each_key_and_both_values(
    change: dict[str, object], told: str
) -> None:
    with pytest.raises(SpecError, match=f"but got other values: {told}. Set the values back"):
        merge(small_study(), small_study(**change))


def test_of_many_keys_the_error_names_five() -> None:
    others = {f"optimizer.{key}": 0.5 for key in ("momentum", "weight_decay")}
    others |= {"batch_size": 4, "augment.color": 0.1, "optimizer.lr": 0.05}
    with pytest.raises(SpecError, match="and [0-9]+ more. Set") as caught:
        merge(small_study(), small_study(settings=others, search={}, seed=7, margin=2.0))
    assert caught.value.came.count("started with") == 5


def test_on_gpus_a_started_study_may_be_given_other_cpus() -> None:
    def asked(cpus: int, gpus: float) -> Study:
        return small_study(resources={"cpus_per_worker": cpus, "gpus_per_worker": gpus})

    assert merge(asked(1, 1.0), asked(4, 1.0)).resources.cpus_per_worker == 4
    with pytest.raises(SpecError, match=r"resources.cpus_per_worker is 4 \(started with 1\)"):
        merge(asked(1, 0.0), asked(4, 0.0))


def test_a_study_that_was_started_with_a_goal_is_continued(tmp_path: Path) -> None:
    """Version 0.1 recorded ``objective.goal``, which every metric shares."""
    root = started(tmp_path).root
    recorded = json.loads((root / "resolved.json").read_text())
    assert recorded["fingerprint"] == "e514fa50c07d6d16"  # as version 0.1 wrote it
    recorded["study"]["objective"] = {"metric": "ap", "goal": "maximize"}
    (root / "resolved.json").write_text(json.dumps(recorded))
    given = small_study(objective={"metric": "ap", "goal": "maximize"})
    directory = StudyDirectory.open(root)
    assert directory.study == given == small_study()
    assert not continue_study(directory, given, FACTS)
    assert directory.fingerprint == recorded["fingerprint"]


def test_other_data_are_refused(tmp_path: Path) -> None:
    facts = json.loads((started(tmp_path).root / "resolved.json").read_text())["facts"]
    other = DataFacts(**{**facts, "categories": tuple(facts["categories"]), "fingerprint": "g"})
    with refused(DataError, "records", "other data"):
        continue_study(StudyDirectory.open(tmp_path / "s"), small_study(), other)


def test_other_weights_and_other_annotations_are_other_data(tmp_path: Path) -> None:
    newer = replace(FACTS, files={"w.pt": "1"}, has_masks=True, num_keypoints=5)
    start_study(tmp_path / "new", small_study(), "", newer, {})
    again = StudyDirectory.open(tmp_path / "new")
    continue_study(again, small_study(), newer)
    with refused(DataError, "records", "another file of weights"):
        continue_study(again, small_study(), replace(newer, files={"w.pt": "2"}))
    with refused(DataError, "records", "other keypoints"):
        continue_study(again, small_study(), replace(newer, num_keypoints=17))


def test_a_study_at_a_uri_is_opened_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_store() as pattern:
        uri = pattern.format("demo")
        monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path / "one"))
        created = start_study(uri, small_study(), "study: small\n", FACTS, {"x": "1"})
        created.log.append(JobFailed(job_id="j", reason="lost", at=1.0))
        extend_study(created, replicates=9)
        monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path / "two"))
        opened = StudyDirectory.open(uri)
        assert opened.root.is_relative_to(tmp_path / "two")
        assert opened.study.budget.replicates == 9
        assert opened.log.read() == created.log.read()
        assert (opened.root / "study.yaml").read_text() == "study: small\n"
        assert opened.address == "s3://studies/demo"
        with pytest.raises(RecordError, match="s3://studies/demo: "):
            start_study(uri, small_study(), "", FACTS, {})
        with pytest.raises(RecordError, match="s3://studies/nothing: "):
            StudyDirectory.open(pattern.format("nothing"))
        Store(pattern.format("other")).write("thesis.tex", b"")
        with pytest.raises(RecordError, match="s3://studies/other: "):
            start_study(pattern.format("other"), small_study(), "", FACTS, {})
