"""Tables of published numbers: those that ship, a reader's own, and what is wrong with a file."""

from pathlib import Path

import pytest

from rethink_ray.analysis.read.published_tables import load_published, published_names
from rethink_ray.spec.claim import COLUMNS
from rethink_ray.spec.errors import DataError
from tests.analysis.tables_by_hand import HEADER, write_table
from tests.golden_words import assert_says


def test_the_tables_that_ship_have_the_four_papers_and_their_sources() -> None:
    assert published_names() == ("he_2018", "li_2021", "vasconcelos_2022", "zoph_2020")
    tables = {name: load_published(f"published:{name}") for name in published_names()}
    assert {name: len(t.rows) for name, t in tables.items()} == {
        "he_2018": 41,
        "li_2021": 18,
        "vasconcelos_2022": 40,
        "zoph_2020": 12,
    }
    assert all("arXiv" in t.citation for t in tables.values())
    first = tables["he_2018"].rows[0]
    assert (first.line, first.value, first.images) == (2, 36.8, 118287)
    assert (first.labels["init"], first.labels["schedule"]) == ("random", "2x")


def test_a_reader_s_own_table_with_other_values_and_one_more_column_is_read(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "mine.csv",
        {
            "detector": "yolo",
            "regime": "bees",
            "schedule": "100ep",
            "value": "12.5",
            "passes": "48",
        },
        header=HEADER + ",passes",
    )
    (row,) = load_published(str(path)).rows
    assert (row.value, row.labels["detector"], row.labels["passes"]) == (12.5, "yolo", "48")


def _refusal(path: Path) -> str:
    """The sentence that refuses a table, its folder left out."""
    with pytest.raises(DataError) as refused:
        load_published(str(path))
    return str(refused.value).removeprefix(f"{path.parent}/")


def test_columns_may_stand_in_any_order_and_a_file_may_begin_with_a_mark(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", {}, header=",".join(reversed(COLUMNS)))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_published(str(path)).rows[0].value == 30.0


def test_a_number_that_two_tables_print_counts_once(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", {"table": "1"}, {"table": "2"})
    assert len(load_published(str(path)).rows) == 1


def test_two_numbers_for_one_run_are_refused_by_line(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", {"value": 30}, {"value": 31})
    refused = _refusal(path)
    assert ("line 3" in refused, "line 2" in refused, "(30)" in refused) == (True, True, True)
    assert_says("analysis", "two numbers for one run", refused)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("value", "n/a"),
        ("value", "nan"),
        ("value", "1_0"),
        ("images", "many"),
        ("images", "0"),
        ("value", "368"),
        ("seeds", "1.5"),
        ("init", ""),
    ],
)
def test_a_bad_cell_has_its_sentence_with_file_and_line(
    tmp_path: Path, column: str, value: str
) -> None:
    refused = _refusal(write_table(tmp_path / "t.csv", {column: value}))
    assert refused.startswith("t.csv: line 2: ")
    assert f"'{value or 'an empty cell'}'" in refused
    assert_says("analysis", f"table with {column} {value!r}", refused)


FILES: dict[str, tuple[bytes, str]] = {
    # what the file holds -> its bytes, and the line that is named
    "nothing": (b"", ""),
    "a header only": (HEADER.encode(), ""),
    "two columns": (b"source,value\nours,1\n", "line 1: "),
    "semicolons": (HEADER.replace(",", ";").encode() + b"\n", "line 1: "),
    "one column twice": (HEADER.encode() + b",init\n", "line 1: "),
    "a short row": (HEADER.encode() + b"\nours,1\n", "line 2: "),
    "an open quote": (HEADER.encode() + b'\n"ours', "line 2: "),
    "other bytes": (b"\xff\xfe\x00", ""),
    "a zero byte": (HEADER.encode() + b"\n\x00", "line 2: "),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_such_table_has_its_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.csv"
    content, line = FILES[name]
    path.write_bytes(content)
    refused = _refusal(path)
    assert refused.startswith(f"t.csv: {line}")
    if name != "a zero byte":  # the csv module's own words
        assert_says("analysis", f"table of {name}", refused)


def test_ap_in_shares_of_one_is_refused_and_other_metrics_may_be_small(tmp_path: Path) -> None:
    shares = write_table(tmp_path / "s.csv", {"value": 0.368}, {"value": 0.41, "init": "imagenet"})
    refused = _refusal(shares)
    assert "0.41" in refused
    assert_says("analysis", "table of AP in shares of one", refused)
    other = write_table(tmp_path / "o.csv", {"value": 0.4, "metric": "drift"}, {"value": 0.4})
    assert "0.4" in _refusal(other)
    mixed = write_table(tmp_path / "m.csv", {"value": 0.4, "metric": "drift"}, {"value": 40})
    assert len(load_published(str(mixed)).rows) == 2


def test_a_table_that_is_not_there_names_those_that_are() -> None:
    for name in ("published:he", "nowhere.csv"):
        with pytest.raises(DataError) as refused:
            load_published(name)
        assert "he_2018" in str(refused.value)
        assert_says("analysis", f"no table {name}", str(refused.value))
