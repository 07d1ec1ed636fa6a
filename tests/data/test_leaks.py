from pathlib import Path

import pytest

from rethink_ray.data.index import open_split
from rethink_ray.data.leaks import paths_of, require_unseen, same_pictures
from rethink_ray.spec.errors import DataError
from tests.builders import MICRO_DATA


def test_pictures_are_compared_by_content_and_not_by_name(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("a", "b", "c", "d")}
    for name, content in {"a": b"one", "b": b"two", "c": b"one", "d": b"three"}.items():
        files[name].write_bytes(content)
    first, second = [files["a"], files["b"]], [files["c"], files["d"]]
    assert same_pictures(first, second) == [(files["a"], files["c"])]
    assert same_pictures([files["b"]], second) == []


def test_training_pictures_are_no_scored_ones_and_a_scored_one_is_refused() -> None:
    learned = paths_of(open_split(MICRO_DATA, "train"))
    require_unseen(MICRO_DATA, learned, "asset x")
    scored = paths_of(open_split(MICRO_DATA, "test"))
    with pytest.raises(DataError, match="asset x: must learn from no picture of split test"):
        require_unseen(MICRO_DATA, [*learned, scored[0]], "asset x")
