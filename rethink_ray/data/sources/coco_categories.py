"""Reads the ``categories`` of a COCO file: each id and each name stands for one category."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rethink_ray.data.sources.values import is_text, read_key, show
from rethink_ray.spec.errors import DataError, Explanation, explain

MOST_NAMED = 3
"""Ids or names of categories that a message lists."""


def read_category_names(
    path: Path, records: Sequence[Any], annotations: Sequence[Any]
) -> dict[int | str, str]:
    """Returns category id -> name.

    Roboflow's exports begin with a category 0 that no object has, the parent of all others. It is
    no class, so it is left out.

    Args:
        path: the file, for messages.
        records: its ``categories``.
        annotations: its ``annotations``; they tell which categories are in use.

    Raises:
        DataError: a category has no id or no name, or an id or a name occurs twice.
    """
    names: dict[int | str, str] = {}
    ids_of: dict[str, list[object]] = defaultdict(list)
    names_of: dict[int | str, list[str]] = defaultdict(list)
    for record in _leave_parent_out(records, annotations):
        key = read_key(record.get("id")) if isinstance(record, dict) else None
        name = record.get("name") if key is not None else None
        is_name = isinstance(name, int | str) and not isinstance(name, bool)
        text = str(name).strip() if is_name else ""
        if key is None or not text or not is_text(text):
            raise not_coco_error(path, f"a category without id or name: {show(record)}")
        names[key] = text
        ids_of[text].append(key)
        names_of[key].append(str(name))
    doubled_ids = {key: texts for key, texts in names_of.items() if len(texts) > 1}
    if not names or doubled_ids:
        must = "must define at least one category, and each id once"
        twice = [f"id {show(k)} for {_list(map(show, texts))}" for k, texts in doubled_ids.items()]
        shown = "; ".join(twice[:MOST_NAMED]) or "none"
        raise DataError(Explanation.of(str(path), must, shown, "Give each category its own id."))
    doubled = {text: keys for text, keys in ids_of.items() if len(keys) > 1}
    if doubled:
        raise _doubled_name_error(path, doubled, names_of, annotations)
    return names


def _leave_parent_out(records: Sequence[Any], annotations: Sequence[Any]) -> Sequence[Any]:
    """Returns the categories without one of id 0 that all others name as their parent.

    It stays if an object has it, or if it has a parent itself.
    """
    parents = [record for record in records if _read_id_and_parent(record) == (0, "none")]
    others = [record for record in records if record not in parents]
    if len(parents) != 1 or not others:
        return records
    name = parents[0].get("name")
    is_parent = all(_read_id_and_parent(record)[1] == name for record in others)
    is_used = any(
        isinstance(one, dict) and read_key(one.get("category_id")) == 0 for one in annotations
    )
    return others if is_parent and not is_used else records


def _read_id_and_parent(record: object) -> tuple[object, object]:
    fields = record if isinstance(record, dict) else {}
    return read_key(fields.get("id")), fields.get("supercategory")


def not_coco_error(path: Path, reason: str) -> DataError:
    """Returns the error about a file that is no COCO file."""
    must = "must be a COCO JSON file with lists 'images', 'annotations' and 'categories'"
    return DataError(explain(str(path), must, reason, "Check the path and that the copy is whole."))


def not_utf8_error(path: Path, error: UnicodeDecodeError) -> DataError:
    """Returns the error about a JSON file in another encoding."""
    must, shown = "must be text in UTF-8", f"byte {error.start} in another encoding"
    remedy = "Save the file as UTF-8: its text may be in Latin-1 or GBK."
    return DataError(explain(str(path), must, shown, remedy))


def _doubled_name_error(
    path: Path,
    doubled: Mapping[str, Sequence[object]],
    names_of: Mapping[int | str, Sequence[str]],
    annotations: Sequence[Any],
) -> DataError:
    """Returns the error about categories of one name, blanks around it aside.

    Some exports add a category that no annotation uses, with the name of the data set or of a
    class. Its entry can be deleted.
    """
    used = {read_key(one.get("category_id")) for one in annotations if isinstance(one, dict)}
    shown = [
        _list(f"{show(name)} with id {show(key)}" for key in keys for name in names_of[key])  # type: ignore[index]
        for keys in list(doubled.values())[:MOST_NAMED]
    ]
    unused = [key for keys in doubled.values() for key in keys if key not in used]
    kept = all(any(key in used for key in keys) for keys in doubled.values())
    if unused and kept:
        which = _list(map(show, unused[:MOST_NAMED]))
        remedy = f"No annotation has category_id {which}: delete the unused entry of 'categories'."
    else:
        remedy = "Make the names distinct, or give the annotations of both one category_id."
    must = "must define each name of a category once"
    return DataError(Explanation.of(str(path), must, "; ".join(shown), remedy))


def _list(words: Any) -> str:
    return " and ".join(words)
