"""Lines of ``data check`` about splits that are cut from train, or could be."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rethink_ray.data.recognise import RecognisedData
    from rethink_ray.spec.regime import DataSpec


def suggest_cut(recognised: "RecognisedData") -> dict[str, Any]:
    """The keys of ``data`` that cut val and test, for a folder of train alone; empty for others."""
    if recognised.splits != ("train",):
        return {}
    split = {"val": "20%", "test": "20%"}
    return {"split": split, "select_on": "val", "report_on": "test"}


def grouping_lines(data: "DataSpec", recognised: "RecognisedData | None" = None) -> Iterator[str]:
    """The sizes of the splits that ``data.split`` cuts, and its largest groups; none without it.

    Of a folder of train alone (``recognised``) they are those of the suggested cut.
    """
    from rethink_ray.data.cut_splits import open_cut
    from rethink_ray.spec.errors import DataError
    from rethink_ray.spec.facts import say_cut
    from rethink_ray.spec.load import validate
    from rethink_ray.spec.regime import DataSpec

    suggested = suggest_cut(recognised) if recognised is not None and data.split is None else {}
    if recognised is not None and suggested:
        data = validate(DataSpec, recognised.data | suggested, "data")
    if data.split is None:
        return
    yield "data.split, as suggested below:" if suggested else "data.split:"
    try:
        cut = open_cut(data)
    except DataError as error:
        yield f"  {error}"
        return
    yield from (f"  {sentence}" for sentence in say_cut(cut.facts))
    yield from (f"  together: {', '.join(names)}" for names in cut.examples)
