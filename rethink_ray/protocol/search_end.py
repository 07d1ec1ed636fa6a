"""How many trials the search of a cell has yet to propose.

The search is over when that number is 0 and no trial is waiting. The rule is used for the records
of a running study (``CellView``) and for the tables of a finished one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from rethink_ray.protocol.cell_rules import CellRules
from rethink_ray.spec.resolve import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchEnd:
    """What a cell needs to know about the search of a cell that it waits for."""

    is_over: bool
    incumbents: frozenset[str]
    """Trial ids, over all lengths."""


def count_unproposed(
    rules: CellRules,
    proposed: int,
    copied_ids: Collection[str | None],
    sources: Mapping[Cell, SearchEnd],
) -> int:
    """Search trials that a cell has yet to propose.

    A cell that copies values proposes one trial for each incumbent of its source. While the source
    still searches their number is open: the answer is then at least 1.

    Args:
        rules: the rules of the cell.
        proposed: search trials so far.
        copied_ids: trials of the source whose values they have.
        sources: the cells that this one waits for (``rules.sources``).
    """
    if not proposed and any(end.is_over and not end.incumbents for end in sources.values()):
        return 0  # without an incumbent there is nothing to copy or to learn from
    if rules.copied is None:
        return max(0, rules.num_trials - proposed)
    source = sources[rules.copied]
    missing = len(source.incumbents.difference(copied_ids))
    return missing if source.is_over else max(1, missing)
