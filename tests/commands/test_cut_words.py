"""What `data check` and `plan` say about splits that are cut from train."""

from pathlib import Path

import pytest
from PIL import ImageOps
from typer.testing import CliRunner

from rethink_ray.cli import app
from tests.looking import SIDE, draw, write_pictures

XML = (
    f"<annotation><size><width>{SIDE}</width><height>{SIDE}</height></size><object>"
    "<name>cat</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"
    "</object></annotation>"
)
STUDY = """
study: mine
question: which?
recipe: tiny_retinanet
regimes: {all: {images: all}}
arms: {scratch: {}}
data: {root: ROOT, dataset: {train: {images: all, annotations: all.json}}, split: SPLIT}
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path / "cache"))


def output_of(*words: str) -> str:
    return CliRunner().invoke(app, [*words]).output


def test_a_folder_without_splits_is_told_what_a_cut_would_do(tmp_path: Path) -> None:
    for sub in ("Annotations", "JPEGImages"):
        (tmp_path / "pets" / sub).mkdir(parents=True)
    for seed in range(20):
        picture = ImageOps.mirror(draw(0)) if seed == 19 else draw(seed)
        picture.save(tmp_path / "pets" / "JPEGImages" / f"{seed}.png")
        (tmp_path / "pets" / "Annotations" / f"{seed}.xml").write_text(XML)
    text = output_of("data", "check", str(tmp_path / "pets"))
    assert "data.split, as suggested below:\n  20 pictures in 19 groups are dealt out" in text
    assert "  2 pictures that look alike stay together in 1 group\n" in text
    assert "  together: 0.png, 19.png\n" in text
    assert "  split:\n    val: 20%\n    test: 20%\n  select_on: val\n  report_on: test" in text


def test_a_study_says_what_its_cut_did(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", {f"{seed}.png": draw(seed) for seed in range(20)})
    study = tmp_path / "mine.yaml"
    study.write_text(
        STUDY.replace("ROOT", str(tmp_path / "set")).replace("SPLIT", "{val: 20%, test: 20%}")
    )
    line = (
        "20 pictures in 20 groups are dealt out: train 12 (60.0 %), val 4 (20.0 % for 20 %), "
        "test 4 (20.0 % for 20 %)"
    )
    assert f"data.split:\n  {line}" in output_of("data", "check", str(study))
    text = output_of("plan", str(study))
    assert "images: train 12, val 4, test 4" in text
    assert f"split: {line}" in text


def test_a_cut_that_is_refused_is_refused_by_the_check_in_the_same_words(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", {f"{seed}.png": draw(seed) for seed in range(20)})
    study = tmp_path / "mine.yaml"
    study.write_text(
        STUDY.replace("ROOT", str(tmp_path / "set")).replace(
            "SPLIT", "{val: 20%, test: 20%, group: folder}"
        )
    )
    words = "must leave a group of pictures for each of train, val and test, but got '1 group of 20"
    for command in (["data", "check"], ["plan"]):
        result = CliRunner().invoke(app, [*command, str(study)])
        assert words in str(result.exception) + result.output
