"""What a study keeps on disk: what something goes on from, and the best; nothing else."""

from pathlib import Path
from typing import Any

import pytest

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.extension import extend, fingerprint_of, merge
from rethink_ray.protocol.retention import Retention, needed_by
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Event, TrialEnded
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study
from tests.records.small_records import proposed, rung, small_study

CELL = Cell("full", "scratch")
# four trials: d diverges, c is stopped, a and b go on, a wins at 2x and b at 4x; both are repeated
FIRST: list[Event] = [
    proposed("a", "b", "c", "d"),
    rung("a", 2.0, 30.0),
    rung("b", 2.0, 20.0),
    rung("c", 2.0, 10.0),
    TrialEnded(trial_id="d", outcome="diverged", reason="nan"),
]
SECOND: list[Event] = [rung("a", 4.0, 35.0), rung("b", 4.0, 40.0)]
REPEATS: list[Event] = [
    proposed("ra", number=0, of="a"),
    proposed("rb", number=1, of="b"),
    rung("ra", 2.0, 29.0),
    rung("rb", 2.0, 19.0),
    rung("rb", 4.0, 39.0),
]


def kept(study: Study, events: list[Event]) -> tuple[str, str, list[str]]:
    """Trials whose trunks are kept, whose branches are, and the weights that are."""
    needed = needed_by(StudyView(study, StudyState(events)).cell(CELL))
    models = sorted(f"{trial_id}{length:g}" for trial_id, length in needed.models)
    return " ".join(sorted(needed.trunks)), " ".join(sorted(needed.branches)), models


def keeping(**checkpoints: str) -> Study:
    return small_study(checkpoints=checkpoints)


def test_while_a_step_is_undecided_everybody_who_may_be_promoted_keeps_its_trunk() -> None:
    assert kept(small_study(), FIRST[:3]) == ("a b c d", "a b c d", ["a2"])


def test_a_stopped_and_a_diverged_trial_keep_nothing() -> None:
    assert kept(small_study(), FIRST) == ("a b", "a b", ["a2"])


def test_at_the_end_a_study_keeps_what_a_longer_ladder_would_go_on_from() -> None:
    everything = [*FIRST, *SECOND, *REPEATS]
    assert kept(small_study(), everything) == ("a b ra rb", "", ["a2", "b4"])
    assert kept(keeping(trunks="unfinished"), everything) == ("", "", ["a2", "b4"])
    assert kept(keeping(trunks="all"), everything)[0] == "a b c d ra rb"


def test_weights_of_every_rung_or_of_none_are_kept_on_request() -> None:
    everything = [*FIRST, *SECOND, *REPEATS]
    all_of_them = ["a2", "a4", "b2", "b4", "c2", "ra2", "rb2", "rb4"]
    assert kept(keeping(models="all"), everything)[2] == all_of_them
    assert kept(keeping(models="none"), everything)[2] == []


def test_before_the_audit_is_drawn_every_loser_may_be_drawn() -> None:
    study = small_study(budget={"trials": 4, "keep": [4, 2], "replicates": 1, "audit": 1})
    assert kept(study, FIRST)[0] == "a b c", "c may be audited, d diverged"
    assert kept(study, [*FIRST, *SECOND])[0] == "a b c", "c is"
    audited = [*FIRST, *SECOND, rung("c", 4.0, 5.0)]
    assert kept(study, audited)[0] == "a b c", "a longer ladder takes the audit further"
    lost = [*FIRST, *SECOND, TrialEnded(trial_id="c", outcome="diverged", reason="nan")]
    assert kept(study, lost)[0] == "a b"


def test_a_longer_ladder_goes_on_from_what_was_kept() -> None:
    everything = [*FIRST, *SECOND, *REPEATS]
    longer = extend(small_study(), lengths=[6.0])
    before = set(kept(small_study(), everything)[0].split())
    wanted = set(kept(longer, everything)[1].split())
    assert wanted
    assert wanted <= before


def files(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Trials with two trunk files, a branch and the weights of their rungs, and leftovers."""
    for trial_id, *lengths in (("a", 2, 4), ("b", 2, 4), ("c", 2), ("d",)):
        folder = tmp_path / "trials" / str(trial_id)
        (folder / "models").mkdir(parents=True)
        for name in ("trunk-000000010.pt", "trunk-000000020.pt", "branch.pt", "rungs.json"):
            (folder / name).touch()
        for length in lengths:
            (folder / "models" / f"{length}x.pt").touch()
    (tmp_path / "trials" / "c" / ".trunk-000000030.pt.77-abcd").touch()
    (tmp_path / "trials" / "stranger").mkdir()
    (tmp_path / "trials" / "stranger" / "trunk-000000010.pt").touch()
    return tmp_path


def test_only_what_nobody_needs_is_named(root: Path) -> None:
    dropped = Retention(small_study(), root).files_to_drop(StudyState(FIRST), running=[])
    assert [str(p.relative_to(root / "trials")) for p in dropped] == [
        "b/models/2x.pt",  # a was better; what lies at 4x is not recorded yet, so it stays
        "c/.trunk-000000030.pt.77-abcd",
        *("c/branch.pt", "c/trunk-000000010.pt", "c/trunk-000000020.pt", "c/models/2x.pt"),
        *("d/branch.pt", "d/trunk-000000010.pt", "d/trunk-000000020.pt"),
    ]


def test_the_folder_of_a_running_trial_is_left_alone(root: Path) -> None:
    retention = Retention(small_study(), root)
    dropped = retention.files_to_drop(StudyState(FIRST), running=["b", "c", "d"])
    assert dropped == []


def test_a_clean_folder_is_not_looked_at_again(root: Path) -> None:
    study, state = small_study(), StudyState(FIRST)
    retention = Retention(study, root)
    for path in retention.files_to_drop(state, []):
        path.unlink()
    assert retention.files_to_drop(state, []) == []
    before = files(root)
    for event in SECOND:
        state.add(event)
    dropped = retention.files_to_drop(state, [])
    assert [str(p.relative_to(root / "trials")) for p in dropped] == [
        "a/branch.pt",
        "a/models/4x.pt",
        "b/branch.pt",
    ]
    assert files(root) == before, "whoever asks deletes, not who answers"


@pytest.mark.parametrize("change", [{"models": "all"}, {"trunks": "unfinished"}])
def test_what_is_kept_is_no_part_of_what_a_study_is(change: dict[str, Any]) -> None:
    assert fingerprint_of(keeping(**change)) == fingerprint_of(small_study())
    merged = merge(small_study(), keeping(**change))
    assert merged.checkpoints == keeping(**change).checkpoints


def test_the_files_of_an_upstream_data_set_may_move() -> None:
    def upstream_in(folder: str) -> str:
        upstream = {"images": f"{folder}/images", "annotations": f"{folder}/boxes.json"}
        data = {"dataset": "shapes", "upstream_detection": upstream}
        return fingerprint_of(small_study(data=data))

    assert upstream_in("/here") == upstream_in("/there")
    assert upstream_in("/here") != fingerprint_of(small_study())
