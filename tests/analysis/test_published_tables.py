"""Tables of published numbers: those that ship, a reader's own, and what is wrong with a file."""

from pathlib import Path

import pytest

from rethink_ray.analysis.read.published_tables import load_published, published_names
from rethink_ray.spec.claim import COLUMNS
from rethink_ray.spec.errors import DataError
from tests.analysis.tables_by_hand import HEADER, write_table


def test_the_tables_that_ship_have_the_four_papers_and_their_sources() -> None:
    assert published_names() == ("he_2018", "li_2021", "vasconcelos_2022", "zoph_2020")
    tables = {name: load_published(f"published:{name}") for name in published_names()}
    assert {name: len(t.rows) for name, t in tables.items()} == {
        "he_2018": 41,
        "li_2021": 12,
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


def test_columns_may_stand_in_any_order_and_a_file_may_begin_with_a_mark(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", {}, header=",".join(reversed(COLUMNS)))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_published(str(path)).rows[0].value == 30.0


def test_a_number_that_two_tables_print_counts_once(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", {"table": "1"}, {"table": "2"})
    assert len(load_published(str(path)).rows) == 1


def test_two_numbers_for_one_run_are_refused_by_line(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", {"value": 30}, {"value": 31})
    with pytest.raises(DataError, match=r"t\.csv: line 3: must say what line 2 says .* \(30\)"):
        load_published(str(path))


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("value", "n/a", r"line 2: value must be a number, but got 'n/a'\. Write it plainly"),
        ("value", "nan", r"line 2: value must be a number, but got 'nan'"),
        ("value", "1_0", r"line 2: value must be a number, but got '1_0'"),
        ("images", "many", r"line 2: images must be a number, but got 'many'"),
        ("images", "0", r"line 2: images must be a whole number above zero, but got '0'"),
        ("value", "368", r"line 2: ap must be in points from 0 to 100, but got '368'"),
        ("seeds", "1.5", r"line 2: seeds must be a whole number above zero, but got '1.5'"),
        ("init", "", r"line 2: init must be given, but got 'an empty cell'"),
    ],
)
def test_a_bad_cell_has_its_sentence_with_file_and_line(
    tmp_path: Path, column: str, value: str, told: str
) -> None:
    path = write_table(tmp_path / "t.csv", {column: value})
    with pytest.raises(DataError, match=r"t\.csv: " + told):
        load_published(str(path))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", r"must hold at least one number, but got 'none'\. Write a header"),
        (HEADER.encode(), r"must hold at least one number, but got 'none'"),
        (b"source,value\nours,1\n", r"line 1: must have the columns .* Add: table, detector"),
        (HEADER.replace(",", ";").encode() + b"\n", r"line 1: .* Separate cells by commas"),
        (HEADER.encode() + b",init\n", r"line 1: must name each column once, but got 'init'"),
        (HEADER.encode() + b"\nours,1\n", r"line 2: must have 19 cells, but got 2\. A cell that"),
        (HEADER.encode() + b'\n"ours', r"line 2: must be comma-separated values"),
        (b"\xff\xfe\x00", r"must be UTF-8 text"),
        (HEADER.encode() + b"\n\x00", r"line 2: must "),
    ],
)
def test_a_file_that_is_no_such_table_has_its_sentence(
    tmp_path: Path, content: bytes, told: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.csv: " + told):
        load_published(str(path))


def test_ap_in_shares_of_one_is_refused_and_other_metrics_may_be_small(tmp_path: Path) -> None:
    shares = write_table(tmp_path / "s.csv", {"value": 0.368}, {"value": 0.41, "init": "imagenet"})
    with pytest.raises(DataError, match=r"s\.csv: AP must be in points .* got 'at most 0\.41'"):
        load_published(str(shares))
    other = write_table(tmp_path / "o.csv", {"value": 0.4, "metric": "drift"}, {"value": 0.4})
    with pytest.raises(DataError, match="Multiply shares by 100"):
        load_published(str(other))
    mixed = write_table(tmp_path / "m.csv", {"value": 0.4, "metric": "drift"}, {"value": 40})
    assert len(load_published(str(mixed)).rows) == 2


def test_a_table_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(DataError, match=r"published:he: must name a table .* 'he'\. .*he_2018"):
        load_published("published:he")
    with pytest.raises(DataError, match=r"nowhere\.csv: .* Tables that ship: published:he_2018"):
        load_published("nowhere.csv")
