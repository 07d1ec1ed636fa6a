"""The report's part about images: pictures under every arm, tables, and what is missing."""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rethink_ray.analysis.containment import Containment
from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.read.kept_boxes import (
    KeptStudy,
    LoadImages,
    NothingKept,
    SmallerRegime,
    read_kept_study,
)
from rethink_ray.analysis.read.picked_images import PickedImage, pick_images
from rethink_ray.analysis.read.scored_images import AnnotatedImage, ReportImages
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.analysis.show.detections_part import build_detections
from rethink_ray.analysis.show.pictures import (
    MOST_BYTES,
    Outline,
    draw_outlines,
    encode_jpeg,
    surround,
)
from rethink_ray.analysis.show.report import as_html, build_report
from rethink_ray.analysis.show.shown_images import (
    MOST_DOUBTS_DRAWN,
    choose_for_smaller,
    choose_smaller,
    draw_rows,
)
from rethink_ray.analysis.show.trial_figures import MOST_LINES, list_lines
from rethink_ray.analysis.show.trials_table import MOST_ROWS
from rethink_ray.cli import app
from rethink_ray.data.splits import open_split
from rethink_ray.detection.kept_detections import table_of
from rethink_ray.records.detections import detections_path, write_detections
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.reporting import load_report_images, name_pictures
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.regime import DataSpec, ShapesSpec
from tests.analysis.labelled_scenes import (
    NAMES,
    detection_of,
    grid_images,
    images_of,
    scatter,
    truth_of,
)
from tests.analysis.planted import TREE, Planted, build_study, noisy
from tests.golden_words import assert_says

SHAPES = ShapesSpec(train=8, val=4, test=24, image_px=64)
THREE_REGIMES = {"full": {"images": "all"}, "few": {"images": 50}, "half": {"images": 200}}
SCORE = noisy(lambda cell, length: 10.0 + length, 0.5, 3)


@dataclass
class PlantedImages(Planted):
    """A planted study whose classes have other names than usual."""

    names: tuple[str, ...] = NAMES

    @property
    def facts(self) -> DataFacts:
        return replace(super().facts, categories=self.names)


def _keep_boxes(
    planted: Planted,
    root: Path,
    images: ReportImages,
    shown: Sequence[AnnotatedImage] | None = None,
) -> None:
    """Replicates of the second arm find objects more exactly than those of the first.

    ``shown``: what is in the pictures, where labels differ from it.
    """
    truth = [truth_of(image) for image in images.images.values()]
    for cell, result in derive_findings(planted.tables()).results.items():
        point = result.points[-1]
        blur = 3.0 if cell.arm == "scratch" else 1.0
        for number, trial_id in enumerate(point.trial_ids):
            seen = scatter(shown or list(images.images.values()), number, blur=blur)
            detections = [detection_of(image_id, boxes) for image_id, boxes in seen.items()]
            path = detections_path(root, trial_id, point.length)
            write_detections(path, table_of(truth, detections, len(images.categories)))


@pytest.fixture(scope="module")
def shapes_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the built-in shapes, whose pictures are on the disk."""
    root = tmp_path_factory.mktemp("shapes")
    data = {**TREE["data"], "shapes": SHAPES.model_dump(), "root": str(root / "data")}
    names = open_split(DataSpec.model_validate(data), "test").categories
    planted = PlantedImages(build_study(data=data), SCORE, names=names)
    where = planted.directory(root / "s")
    _keep_boxes(planted, where, load_report_images(planted.study, planted.facts, "full"))
    return where


@pytest.fixture(scope="module")
def report_folder(shapes_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command wrote; other tests write the study's report again."""
    result = CliRunner().invoke(app, ["report", str(shapes_study)])
    assert result.exit_code == 0, result.output
    return Path(shutil.copytree(shapes_study / "report", tmp_path_factory.mktemp("r") / "report"))


@pytest.fixture(scope="module")
def page(report_folder: Path) -> str:
    return (report_folder / "report.html").read_text()


def test_each_picture_is_in_the_page_once_and_shown_with_labels_and_under_every_arm(
    page: str,
) -> None:
    stored = re.findall(r'<image id="(picture-\d+)"', page)
    assert len(stored) == len(set(stored)) == 9
    for name in stored:
        assert page.count(f'<use href="#{name}"/>') == 3, "labels, scratch, pretrained"
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)[:3]
    assert [caption.partition(":")[0] for caption in captions] == [
        "labels",
        "scratch",
        "pretrained",
    ]


def test_best_typical_and_worst_are_shown_with_their_scores_in_order(page: str) -> None:
    headings = re.findall(r"<h4>(\w+): \S+ \(F1 ([0-9.]+)\)</h4>", page)
    assert [reason for reason, _ in headings] == ["best"] * 3 + ["typical"] * 3 + ["worst"] * 3
    best, typical, worst = (
        [float(score) for reason, score in headings if reason == name]
        for name in ("best", "typical", "worst")
    )
    assert min(best) >= max(typical)
    assert min(typical) >= max(worst)


def test_the_tables_about_images_are_in_the_page(page: str, report_folder: Path) -> None:
    for title in ("AP by class", "Precision and recall", "Confusion of classes", "Errors by kind"):
        assert f"<h3>{title}</h3>" in page
    figures = {path.name for path in (report_folder / "figures").iterdir()}
    assert {"full-precision-50.svg", "full-precision-75.svg", "full-trials.svg"} <= figures
    assert (report_folder / "label_errors.csv").is_file()


def _read(where: Path, load_images: LoadImages | None) -> KeptStudy | NothingKept:
    directory = StudyDirectory.open(where)
    results, facts = derive_findings(read_tables(directory)).results, directory.facts
    return read_kept_study(
        results, facts.regime_sizes, facts.categories, directory.root, load_images
    )


def test_without_a_data_set_there_are_no_pictures_and_the_sentence_says_why(
    shapes_study: Path,
) -> None:
    directory = StudyDirectory.open(shapes_study)
    gone = directory.study.data.model_copy(update={"dataset": "voc", "root": "/nowhere/at/all"})
    elsewhere = directory.study.model_copy(update={"data": gone})
    kept = _read(shapes_study, partial(load_report_images, elsewhere, directory.facts))
    assert isinstance(kept, KeptStudy)
    assert kept.images is None
    assert "because the data set is not there: data.root /nowhere/at/all" in kept.images_missing
    assert _read(shapes_study, None).images is None  # type: ignore[union-attr]


def test_other_annotations_than_those_scored_against_are_not_shown(shapes_study: Path) -> None:
    directory = StudyDirectory.open(shapes_study)
    images = load_report_images(directory.study, directory.facts, "full")
    first = next(iter(images.images.values()))
    others = replace(images, images={**images.images, first.image_id: _without_first(first)})
    kept = _read(shapes_study, lambda regime: others)
    assert isinstance(kept, KeptStudy)
    assert kept.images is None
    assert_says("analysis", "annotations that changed", kept.images_missing)


def test_a_picture_that_is_gone_costs_its_own_row(shapes_study: Path) -> None:
    directory = StudyDirectory.open(shapes_study)
    images = load_report_images(directory.study, directory.facts, "full")
    lost = min(images.images)

    def open_picture(image_id: int) -> Image.Image:
        if image_id == lost:
            raise FileNotFoundError(2, "No such file or directory", "lost.png")
        return images.open_picture(image_id)

    kept = _read(shapes_study, lambda regime: replace(images, open_picture=open_picture))
    assert isinstance(kept, KeptStudy)
    picked = [PickedImage(image_id=n, reason="best", score=0.5) for n in (lost, lost + 1)]
    gone, there = draw_rows(kept, picked)
    assert gone.missing.startswith("Not shown: ")
    assert not gone.pictures
    assert len(there.pictures) == 3


def test_a_study_that_keeps_no_boxes_has_a_sentence_in_their_place(tmp_path: Path) -> None:
    where = Planted(build_study(), SCORE).directory(tmp_path / "s")
    page = build_report(StudyDirectory.open(where), "s").page.read_text()
    (sentence,) = re.findall(r'<p class="missing">(The boxes of .*?)</p>', page)
    assert_says("analysis", "no boxes kept", sentence)
    assert not (where / "report" / "label_errors.csv").exists()


def test_pictures_can_be_left_out(shapes_study: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(shapes_study), "--no-pictures"])
    assert result.exit_code == 0, result.output
    page = (shapes_study / "report" / "report.html").read_text()
    assert "<image" not in page
    assert "<h3>AP by class</h3>" in page
    assert "Errors by kind" not in page


def test_a_large_study_with_pictures_of_noise_has_a_page_of_at_most_8_mb(tmp_path: Path) -> None:
    """Its table of trials is full, half of its images lack a label, and no JPEG can compress its
    pictures."""
    planted = PlantedImages(build_study(regimes=THREE_REGIMES), SCORE)
    directory = StudyDirectory.open(planted.directory(tmp_path / "s"))
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    shown = grid_images(80)
    labelled = [_without_first(one) if one.image_id % 2 else one for one in shown]
    images = images_of(labelled, lambda image_id: Image.fromarray(noise))
    _keep_boxes(planted, directory.root, images, shown)
    findings = derive_findings(planted.tables())
    records = {
        cell: replace(record, search=record.search * MOST_ROWS)
        for cell, record in findings.records.items()
    }
    large, kept = replace(findings, records=records), Containment()
    part = build_detections(large, directory, lambda regime: images, kept)
    page = as_html(large, dict(part.figures), "studies/large", (), kept, part)
    assert kept.missing == ()
    assert page.count("<image ") == 9 + MOST_DOUBTS_DRAWN
    assert "more are in trials.parquet" in page
    assert 1_000_000 < len(page.encode()) <= 8_000_000
    assert part.regime == "full"
    assert [[one.regime for one in row.smaller] for row in part.rows] == [["half", "few"]] * 9
    for row in part.rows:
        of_regimes = [row.pictures[1:], *(one.pictures for one in row.smaller)]
        for pictures in of_regimes:
            arms = [picture.caption.partition(":")[0] for picture in pictures]
            assert arms == ["scratch", "pretrained"]
    assert_says("analysis", "smaller regimes", part.smaller_note)


def test_many_arms_of_smaller_regimes_show_fewer_images_then_fewer_regimes(
    shapes_study: Path,
) -> None:
    """150 pictures at most: 9 images under 16 arms are 144, 3 images under 40 arms 120."""
    directory = StudyDirectory.open(shapes_study)
    kept = _read(shapes_study, partial(load_report_images, directory.study, directory.facts))
    assert isinstance(kept, KeptStudy)
    picked = pick_images(kept)

    def show(*num_arms: int) -> tuple[int, list[str]]:
        smaller = tuple(
            SmallerRegime(regime=f"{num}", arms=kept.arms[:1] * num, image_ids=frozenset())
            for num in num_arms
        )
        study = replace(kept, smaller=smaller)
        images = choose_for_smaller(study, picked)
        return len(images), [one.regime for one in choose_smaller(study, len(images))]

    assert show(8, 8) == (9, ["8", "8"])
    assert show(8, 9) == (3, ["8", "9"])
    assert show(40, 11) == (3, ["40"])


def test_tables_about_one_arm_are_about_the_recommended_one(shapes_study: Path) -> None:
    kept = _read(shapes_study, None)
    assert isinstance(kept, KeptStudy)
    assert (kept.main_arm.arm, kept.choice_of_arm) == (
        "pretrained",
        "the arm with the highest mean AP",
    )
    chosen = replace(kept, recommended="scratch")
    assert (chosen.main_arm.arm, chosen.choice_of_arm) == ("scratch", "the recommended arm")
    assert replace(kept, recommended="gone").main_arm.arm == "pretrained"


def test_the_page_holds_labels_against_the_arm_that_the_answer_recommends(page: str) -> None:
    assert "replicates of pretrained (the recommended arm) contradict" in page


def _without_first(image: AnnotatedImage) -> AnnotatedImage:
    boxes, labels, is_crowd = image.boxes_xyxy[1:], image.labels[1:], image.is_crowd[1:]
    return replace(image, boxes_xyxy=boxes, labels=labels, is_crowd=is_crowd)


def test_pictures_of_one_name_are_called_by_as_many_folders_as_tell_them_apart() -> None:
    paths = ["/a/left/1/x.jpg", "/a/right/1/x.jpg", "/a/right/2/x.jpg", "/a/y.jpg", "/a/y.jpg"]
    assert name_pictures(paths) == ["left/1/x.jpg", "right/1/x.jpg", "2/x.jpg", "y.jpg", "y.jpg"]
    assert name_pictures([]) == []


def test_a_jpeg_is_small_whatever_it_shows() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    jpeg = encode_jpeg(Image.fromarray(noise))
    assert len(jpeg.content) <= MOST_BYTES
    assert jpeg.region == (0.0, 0.0, 400.0, 300.0)


@pytest.mark.parametrize(
    ("box", "region"),
    [
        ((40.0, 40.0, 60.0, 60.0), (20.0, 20.0, 81.0, 81.0)),
        ((0.0, 0.0, 4.0, 4.0), (0.0, 0.0, 34.0, 34.0)),
        ((90.0, 0.0, 100.0, 50.0), (0.0, 0.0, 100.0, 100.0)),
    ],
)
def test_a_doubtful_label_is_shown_with_what_is_around_it(
    box: tuple[float, float, float, float], region: tuple[float, float, float, float]
) -> None:
    """Three times the box, at least a third of a picture of 100 x 100, and never beyond it."""
    assert surround(box, 100, 100) == region


def test_a_text_that_would_hide_another_one_is_left_out() -> None:
    """Both boxes begin at one corner; the surer one comes first. The third stands elsewhere."""
    corners = ((10.0, 40.0, 50.0, 80.0), (11.0, 41.0, 50.0, 80.0), (60.0, 80.0, 90.0, 95.0))
    outlines = [
        Outline(box_xyxy=box, kind="right", text=text)
        for box, text in zip(corners, ("sure", "unsure", "a < b"), strict=True)
    ]
    svg = draw_outlines("", (0.0, 0.0, 100.0, 100.0), outlines, "title")
    assert re.findall(r"<text[^>]*>(.*?)</text>", svg) == ["sure", "a &lt; b"]
    assert svg.count('<rect class="right"') == 3


def test_lines_of_trials_are_their_scores_on_the_split_that_selects() -> None:
    record = next(iter(derive_findings(Planted(build_study(), SCORE).tables()).records.values()))
    lines = list_lines(record, record.search)
    assert [[length for length, _ in line] for line in lines] == [[2.0, 4.0, 6.0]] * 2
    trial = min(record.search, key=lambda one: one.trial_id)
    assert lines[0][-1][1] == record.scores[trial.trial_id, 6.0].select
    assert len(list_lines(record, record.search * MOST_LINES)) == MOST_LINES


def _rows_of(page: str) -> Iterator[list[str]]:
    table = page[page.index('<section id="trials">') :]
    for row in re.findall(r"<tr>(.*?)</tr>", table[: table.index("</table>")], flags=re.S):
        yield re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)


def test_every_trial_is_in_one_table_that_needs_no_script(page: str, shapes_study: Path) -> None:
    head, *rows = _rows_of(page)
    assert head[:4] == ["trial", "regime", "arm", "role"]
    assert len(rows) == read_tables(StudyDirectory.open(shapes_study)).trials.num_rows
    roles = {row[3].split()[0] for row in rows}
    assert roles == {"search", "replicate"}


def test_the_script_is_small_and_asks_for_nothing(page: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.S)
    assert len(script) < 5000
    assert not re.search(r"fetch|XMLHttpRequest|import|https?:|eval|innerHTML", script)
