"""Arms and regimes that joined a study after its first result."""

from collections.abc import Iterator

from rethink_ray.judge.verdicts import Caveat
from rethink_ray.spec.study import Study


def find_added_later(study: Study) -> Iterator[Caveat]:
    """One for each arm and each regime that an edit added."""
    for number, edit in enumerate(study.edits, start=1):
        tail = (
            "after results had been seen, which may be why it is here: its comparisons count as "
            f"look {number + 1}, and they are corrected together with the older ones."
        )
        for arm in edit.arms:
            yield Caveat(key=f"added-later:{arm}", arm=arm, text=f"{arm} was added {tail}")
        for regime in edit.regimes:
            text = f"{regime} was added {tail}"
            yield Caveat(key=f"added-later:{regime}", regime=regime, text=text)
