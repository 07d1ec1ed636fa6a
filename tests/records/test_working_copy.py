"""Two machines, each with a folder of its own, meet only in the store."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rethink_ray.records.working_copy import WorkingCopy, working_folder
from tests.object_store import object_store


@pytest.fixture(scope="module")
def pattern() -> Iterator[str]:
    with object_store() as uri:
        yield uri


@pytest.fixture
def machines(
    pattern: str, request: pytest.FixtureRequest, tmp_path: Path
) -> tuple[WorkingCopy, WorkingCopy]:
    uri = pattern.format(request.node.name)
    return WorkingCopy(uri, tmp_path / "one"), WorkingCopy(uri, tmp_path / "two")


def write(copy: WorkingCopy, name: str, text: str) -> None:
    path = copy.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_trial_goes_on_where_another_machine_left_it(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    one, two = machines
    write(one, "trials/t1/trunk-000000012.pt", "weights")
    write(one, "trials/t1/.trunk-000000024.pt.part", "half")
    write(one, "trials/t2/trunk-000000003.pt", "others")
    one.push("trials/t1")
    two.pull("trials/t1")
    there = [p.relative_to(two.root).as_posix() for p in two.root.rglob("*") if p.is_file()]
    assert there == ["trials/t1/trunk-000000012.pt"]


def test_what_is_pruned_here_is_pruned_there_and_what_changed_is_sent_again(
    machines: tuple[WorkingCopy, WorkingCopy],
) -> None:
    one, two = machines
    write(one, "trials/t/trunk-1.pt", "1")
    write(one, "trials/t/rungs.json", "[]")
    one.push("trials/t")
    (one.root / "trials/t/trunk-1.pt").unlink()
    write(one, "trials/t/rungs.json", "[2.0]")
    one.push("trials/t")
    assert list(one.store.list("trials")) == ["trials/t/rungs.json"]
    two.pull("trials")
    assert (two.root / "trials/t/rungs.json").read_text() == "[2.0]"


def test_what_is_newer_here_stays(machines: tuple[WorkingCopy, WorkingCopy]) -> None:
    one, two = machines
    write(one, "resolved.json", "old")
    one.push("resolved.json")
    write(two, "resolved.json", "new")
    later = (two.root / "resolved.json").stat().st_mtime + 3600
    os.utime(two.root / "resolved.json", (later, later))
    two.pull("resolved.json")
    assert (two.root / "resolved.json").read_text() == "new"


def test_dropping_a_file_drops_it_everywhere(machines: tuple[WorkingCopy, WorkingCopy]) -> None:
    one, _ = machines
    write(one, "models/a/2x.pt", "w")
    one.push("models")
    one.drop("models/a/2x.pt")
    one.drop("models/a/2x.pt")
    assert one.store.list("models") == {}
    assert not (one.root / "models/a/2x.pt").exists()


def test_each_study_has_a_working_folder_whatever_the_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path))
    folder = working_folder("s3://key:word@bucket/demo?region=a")
    assert folder == working_folder("s3://bucket/demo/")
    assert folder != working_folder("s3://other/demo")
    assert folder.parent == tmp_path / "studies"
    assert folder.name.startswith("demo-")
