"""The sentences of ``new`` about a folder."""

from dataclasses import replace
from pathlib import Path

import yaml
from PIL import ImageEnhance, ImageOps

from rethink_ray.drafting.folder import look_at_folder
from rethink_ray.drafting.study_text import write_text
from rethink_ray.drafting.words import describe_pictures, keep_largest_regime, name_next
from rethink_ray.spec.fault_kinds import FaultShare
from rethink_ray.spec.met_faults import say_met_faults
from tests.analysis.planted import build_facts, build_study
from tests.looking import draw, write_pictures


def test_faults_are_told_once_of_train_whatever_regimes_were_considered() -> None:
    """One box of a hundred has no pixels; so do one of fifty in half of the images."""
    regimes = {"all": {"images": "all"}, "half": {"images": "50%"}}
    one = FaultShare(count=1, total=100)
    faults = {"all": {"box_degenerate": one}, "half": {"box_degenerate": replace(one, total=50)}}
    facts = replace(
        build_facts(build_study(regimes=regimes)),
        split_faults={"train": {"box_degenerate": one}},
        regime_faults=faults,
    )
    assert "of regime half" in say_met_faults(facts)
    assert say_met_faults(keep_largest_regime(facts)).startswith("1 of 100 boxes of train were")


def test_look_alikes_between_the_folders_splits_are_named_with_both_files(tmp_path: Path) -> None:
    copies = {"mirrored.png": ImageOps.mirror(draw(0)), "bright.png": draw(1)}
    copies["bright.png"] = ImageEnhance.Brightness(copies["bright.png"]).enhance(1.2)
    write_pictures(tmp_path / "train", {f"{seed}.png": draw(seed) for seed in range(12)})
    write_pictures(tmp_path / "valid", {"12.png": draw(12), **copies})
    write_pictures(tmp_path / "test", {"13.png": draw(13), "14.png": draw(14)})
    seen = look_at_folder(tmp_path)
    sentences = describe_pictures(seen, build_facts(build_study()))
    [alike] = [sentence for label, sentence in sentences if label == "Alike"]
    assert alike == (
        "2 pictures of train look like one of val (such as all/0.png like all/mirrored.png): "
        "scores may be too high. Take one of each two away; "
        f"`rethink-ray data check --json {tmp_path}` lists all"
    )


def test_a_folder_whose_splits_are_all_cut_by_likeness_has_no_such_sentence(tmp_path: Path) -> None:
    pictures = {f"{seed}.png": draw(seed) for seed in range(12)}
    write_pictures(tmp_path, {**pictures, "again.png": ImageOps.mirror(draw(0))})
    assert look_at_folder(tmp_path).alike == ()


def test_the_next_commands_can_be_pasted_where_a_folder_has_a_blank() -> None:
    (_, plan), (_, run), (_, answer) = name_next(Path("my photos") / "cats.yaml")
    assert plan == "rethink-ray plan 'my photos/cats.yaml'"
    assert run == "rethink-ray run 'my photos/cats.yaml'"
    assert answer == "rethink-ray answer studies/cats"


def test_a_class_with_a_line_separator_in_its_name_stays_inside_the_comment() -> None:
    header = [("Objects", "3 with boxes in 1 class: cat\u2028tabby: [\x07 3")]
    text = write_text({"study": "cats"}, header, {})
    assert yaml.safe_load(text) == {"study": "cats"}
    assert "cat tabby: [" in text
