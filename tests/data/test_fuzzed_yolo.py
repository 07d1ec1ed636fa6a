"""Label files and ``data.yaml`` with faults that real files have: read, counted or refused."""

import json
import math
import random
from pathlib import Path

import pytest
from data_files import write_picture

from rethink_ray.data.sources.raw import Problem
from rethink_ray.data.sources.yolo_config import read_yolo_config
from rethink_ray.data.sources.yolo_lines import LabelFormat, read_label_lines
from rethink_ray.spec.errors import DataError

WORDS = (
    *(
        "0",
        "1",
        "7",
        "-1",
        "1.0",
        "0.5",
        "0.25",
        "1",
        ".5",
        "1e-1",
        "1e999",
        "nan",
        "inf",
        "-0.001",
    ),
    *(
        "640",
        "-3",
        "",
        "x",
        "0,5",
        "0.5;",
        "\u0664",
        "\x00",
        "\ufeff0",
        "1_0",
        "0x1",
        "+0.5",
        "1.005",
    ),
)
YAML_PIECES = (
    *("train: images", "train: [images, images]", "train:", "train: {a: b}", "train: [[images]]"),
    *(
        "val: images",
        "val: nowhere",
        "val: [1, 2]",
        "test: /images",
        "path: ..",
        "path: [a]",
        "path:",
    ),
    *(
        "names: [cat, dog]",
        "names: {0: cat}",
        "names: cat",
        "names:",
        "names: [[a], {b: c}]",
        "nc: 1",
    ),
    *(
        "nc: two",
        "nc: -1",
        "nc: 99999999999",
        "kpt_shape: [17, 3]",
        "kpt_shape: 17",
        "kpt_shape: [0, 9]",
    ),
    *(
        "kpt_names: [a]",
        "kpt_names: {0: [a, b]}",
        "- a",
        "\tx: y",
        "a: &a [*a]",
        "%",
        "!!python/x: y",
    ),
)


GOOD_KEYS = ("names: [cat, dog]", "train: images")


@pytest.mark.parametrize("shape", [None, (2, 3), (1, 2)])
def test_each_line_is_an_object_or_a_counted_fault(shape: tuple[int, int] | None) -> None:
    chance = random.Random(0)
    labels = LabelFormat(names={0: "cat", 1: "dog"}, keypoint_shape=shape)
    for _ in range(3000):
        words = [
            chance.choice(WORDS) for _ in range(chance.choice((1, 4, 5, 5, 5, 6, 7, 8, 9, 11)))
        ]
        line, problems = " ".join(words), list[Problem]()
        objects = read_label_lines(line, "a.txt", (20, 10), labels, problems)
        num_lines = sum(bool(one.strip()) for one in line.splitlines())
        assert len(objects) + len(problems) == num_lines
        for annotated in objects:
            assert all(map(math.isfinite, (*annotated.box_xyxy, *annotated.keypoints)))
            assert annotated.area >= 0
            assert len(json.loads(annotated.segmentation or b"[[]]")[0]) % 2 == 0


def test_a_data_yaml_is_read_or_refused_in_a_sentence(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.png")
    chance = random.Random(0)
    num_read, refusals = 0, []
    for _ in range(250):
        text = "\n".join([*GOOD_KEYS, *chance.sample(YAML_PIECES, chance.randint(1, 4))])
        (tmp_path / "data.yaml").write_text(text)
        try:
            config = read_yolo_config(tmp_path / "data.yaml")
        except DataError as error:
            refusals.append(str(error))
        else:
            num_read += 1
            assert config.splits["train"]
            assert all(isinstance(name, str) and name for name in config.names.values())
    assert num_read > 20
    assert all(", but got " in refusal for refusal in refusals)
