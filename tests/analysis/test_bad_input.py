"""Studies that hold little or nothing, and files that are no tables: each command has a sentence
for each of them, never a traceback."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rethink_ray.cli import app
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.views import write_views
from rethink_ray.session import start_study
from rethink_ray.spec.errors import RethinkError
from tests.analysis.planted import Planted, build_study, noisy, written
from tests.analysis.tables_by_hand import write_table

COMMANDS = (
    ["findings", "DIR"],
    ["findings", "DIR", "--json"],
    ["findings", "DIR", "--markdown"],
    ["findings", "DIR", "--as-if", "pooled"],
    ["report", "DIR"],
    ["compare", "DIR", "published:he_2018"],
    ["export", "DIR"],
    ["status", "DIR"],
)
SCORE = noisy(lambda cell, length: 10.0 + length, 0.5, 3)
DIVERGED = {
    (arm, purpose, number): "diverged"
    for arm in ("scratch", "pretrained")
    for purpose in ("search", "replicate")
    for number in range(3)
}
ONE_LENGTH = {"unit": 60, "lengths": [2]}
TRUNCATED = b"PAR1\x15\x04\x15"
FOREIGN = b"not a Parquet file at all"


def _empty(root: Path) -> Path:
    planted = Planted(build_study(), SCORE)
    start_study(root, planted.study, "study: planted\n", planted.facts, {})
    return root


STUDIES: dict[str, Callable[[Path], Path]] = {
    "empty": _empty,
    "one cell": Planted(build_study(arms={"scratch": {}}), SCORE).directory,
    "one cell, one length": Planted(
        build_study(
            arms={"scratch": {}},
            schedule=ONE_LENGTH,
            budget={"trials": 1, "keep": [1], "replicates": 3},
        ),
        SCORE,
    ).directory,
    "one replicate": Planted(build_study(), SCORE, replicates=1).directory,
    "no replicate": Planted(build_study(), SCORE, replicates=0).directory,
    "all diverged": Planted(build_study(), SCORE, ended=DIVERGED).directory,
    "all replicates diverged": Planted(
        build_study(), SCORE, ended={k: v for k, v in DIVERGED.items() if k[1] == "replicate"}
    ).directory,
    "no score at all": Planted(build_study(), lambda *_: float("nan")).directory,
    "nothing learned": Planted(build_study(), lambda *_: 0.0).directory,
}


def _told(words: list[str], root: Path) -> str:
    """What a command prints or the sentence it ends with; anything else is a failure."""
    done = CliRunner().invoke(app, [str(root) if word == "DIR" else word for word in words])
    if isinstance(done.exception, RethinkError):
        return str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_that_holds_little_has_its_sentences(
    name: str, words: list[str], tmp_path: Path
) -> None:
    told = _told(words, STUDIES[name](tmp_path / "s"))
    assert told.strip()
    assert "nan" not in told.replace("resonance", "").split()


@pytest.mark.parametrize(
    ("words", "content"),
    [
        (["findings", "DIR"], TRUNCATED),
        (["findings", "DIR"], FOREIGN),
        (["findings", "DIR"], b""),
        (["report", "DIR"], TRUNCATED),
    ],
    ids=str,
)
def test_a_truncated_or_foreign_parquet_file_is_rebuilt_from_the_records(
    words: list[str], content: bytes, tmp_path: Path
) -> None:
    root = STUDIES["one replicate"](tmp_path / "s")
    directory = StudyDirectory.open(root)
    write_views(directory, directory.load_state(), build_tables)
    expected = _told(words, root)
    for name in ("trials.parquet", "rungs.parquet"):
        (root / name).write_bytes(content)
    assert _told(words, root) == expected


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_file_or_an_empty_folder_in_the_place_of_a_study_is_named(
    words: list[str], tmp_path: Path
) -> None:
    assert "must hold a study" in _told(words, tmp_path)
    (tmp_path / "t.parquet").write_bytes(FOREIGN)
    assert "must hold a study" in _told(words, tmp_path / "t.parquet")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 999}', "\x00"])
def test_a_resolved_json_that_is_damaged_is_named(
    content: str, words: list[str], tmp_path: Path
) -> None:
    root = STUDIES["empty"](tmp_path / "s")
    (root / "resolved.json").write_text(content)
    assert "resolved.json" in _told(words, root)


@pytest.mark.parametrize(
    "words", [["findings", "--from", "DIR"], ["compare", "DIR", "published:he_2018"]], ids=" ".join
)
@pytest.mark.parametrize(
    ("change", "told"),
    [({"value": "n/a"}, "value must be a number"), ({"images": "-3"}, "must be a whole number")],
)
def test_a_table_with_a_word_for_a_number_is_named_by_line(
    words: list[str], change: dict[str, str], told: str, tmp_path: Path
) -> None:
    path = write_table(tmp_path / "mine.csv", change)
    assert told in _told(words, path)
    (tmp_path / "short.csv").write_text("source,value\nours,1\n")
    assert "must have the columns" in _told(words, tmp_path / "short.csv")
    (tmp_path / "rungs.csv").write_bytes(TRUNCATED)
    assert "must" in _told(words, tmp_path / "rungs.csv")


def test_what_one_replicate_says_has_no_interval_and_no_verdict(tmp_path: Path) -> None:
    root = STUDIES["one replicate"](tmp_path / "s")
    tree = json.loads(_told(["findings", "DIR", "--json"], root))
    headline = tree["findings"][0]
    assert (headline["verdict"], headline["interval"]) == ("inconclusive", None)
    assert "there is no interval" in headline["sentence"]


def test_an_arm_that_was_refused_everywhere_is_told_in_plain_sentences(tmp_path: Path) -> None:
    study = build_study(regimes={"full": {"images": "all"}, "small": {"images": 60}})
    refused = {("pretrained", "search", number): "refused" for number in range(2)}
    planted = Planted(study, written({("scratch", x): [20.0, 21.0, 22.0] for x in (2, 4, 6)}))
    planted.ended = refused
    root = planted.directory(tmp_path / "s")
    tree = json.loads(_told(["findings", "DIR", "--json"], root))
    why = "because the asset it needs was refused"
    assert tree["incomplete"] == f"No trial of pretrained could start in any regime, {why}."
    assert tree["findings"][0]["sentence"].endswith(f"no trial of pretrained could start, {why}.")
    shown = _told(["findings", "DIR"], root)
    assert "2 search trials could start, because the asset they need was refused." in shown
    assert "no replicate has AP yet" not in shown
