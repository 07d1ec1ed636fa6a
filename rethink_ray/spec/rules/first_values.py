"""Rules of ``try_first``: some cell searches each value, and a cell has a trial for each entry."""

from collections.abc import Iterator
from dataclasses import dataclass

from rethink_ray.spec.first_points import FirstFromStudy, FirstValues
from rethink_ray.spec.first_values import (
    applies_to,
    copied_points_of,
    entries_of_study,
    first_values,
)
from rethink_ray.spec.resolve import Cell, cells_of, copied_cell, space_of
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.settings import nearest, spell_number
from rethink_ray.spec.space import Parameter, Value
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True)
class FirstEntry:
    """One entry of ``try_first``, and the cells that it may hold for."""

    study: Study
    key: str
    """``try_first[0]``, or ``arms.scratch.try_first[0]``."""
    entry: FirstValues
    cells: tuple[Cell, ...]


def entries_of(study: Study) -> Iterator[FirstEntry]:
    """Yields every entry of a study, or the points it copied, then the entries of its arms."""
    cells = _searched_cells(study)
    groups: list[tuple[str, tuple[FirstValues, ...], tuple[Cell, ...]]] = []
    if isinstance(study.try_first, FirstFromStudy):
        for cell in cells:
            prefix = f"try_first.copied.points.{cell.name}"
            groups.append((prefix, entries_of_study(study, cell), (cell,)))
    else:
        groups.append(("try_first", study.try_first, cells))
    for arm, spec in study.arms.items():
        cells_of_arm = tuple(cell for cell in cells if cell.arm == arm)
        groups.append((f"arms.{arm}.try_first", spec.try_first, cells_of_arm))
    for prefix, entries, searched in groups:
        for index, entry in enumerate(entries):
            yield FirstEntry(study, f"{prefix}[{index}]", entry, searched)


def _copies_for_no_cell(study: Study) -> bool | Breach:
    """Points were copied for a cell that the study does not search."""
    copied = copied_points_of(study)
    names = [cell.name for cell in _searched_cells(study)]
    for name in copied.points if copied else ():
        if name not in names:
            return Breach(came=name, words={"nearest": nearest(name, names)})
    return False


def _searched_cells(study: Study) -> tuple[Cell, ...]:
    """Returns every cell that is searched; a cell that copies its values tries none."""
    return tuple(cell for cell in cells_of(study) if copied_cell(study, cell) is None)


def _names_an_unsearched_path(first: FirstEntry) -> bool | Breach:
    searched = sorted({path for cell in first.cells for path in space_of(first.study, cell)})
    for path in first.entry:
        if path not in searched:
            remedy = nearest(path, searched) if searched else "Nothing is searched there."
            return Breach(key=first.key, came=path, words={"nearest": remedy})
    return False


def _leaves_a_range(first: FirstEntry) -> bool | Breach:
    """The entry has a value outside the range of a cell that would try it."""
    for cell, parameter, path, value in _values_outside(first):
        if applies_to(first.study, cell, first.entry):
            words = {"range": describe_parameter(parameter), "cell": cell.name}
            return Breach(key=f"{first.key}.{path}", came=value, words=words)
    return False


def _is_a_number_as_text(first: FirstEntry) -> bool | Breach:
    """The entry has a text, in place of a number that YAML would read from another spelling."""
    for _, parameter, path, value in _values_outside(first):
        if not isinstance(value, str):
            continue
        spelling = spell_number(value, is_whole=parameter.kind == "int_uniform")
        if spelling:
            words = {"spelling": spelling, "text": value}
            return Breach(key=f"{first.key}.{path}", came=value, words=words)
    return False


def _values_outside(first: FirstEntry) -> Iterator[tuple[Cell, Parameter, str, Value]]:
    """Yields cell, parameter, path and value wherever a cell's space lacks a value of the entry."""
    for cell in first.cells:
        space = space_of(first.study, cell)
        for path, value in first.entry.items():
            if path in space and not space[path].contains(value):
                yield cell, space[path], path, value


def describe_parameter(parameter: Parameter) -> str:
    """Returns kind and range, or options, as a study file writes them."""
    options = parameter.choice if parameter.choice is not None else parameter.bounds
    return f"{parameter.kind} {list(options)}"


def _holds_for_no_cell(first: FirstEntry) -> bool | Breach:
    if any(applies_to(first.study, cell, first.entry) for cell in first.cells):
        return False
    return Breach(key=first.key, came=dict(first.entry))


def _tries_more_than_there_are_trials(study: Study) -> bool | Breach:
    trials = study.budget.trials
    for cell in _searched_cells(study):
        num = len(first_values(study, cell))
        if num > trials:
            words = {"trials": trials, "s": "s" * (trials != 1), "cell": cell.name, "num": num}
            return Breach(came=num, words=words)
    return False


ENTRY_RULES: tuple[Rule[FirstEntry], ...] = (
    Rule(
        key="try_first",
        reads=("search", "arms"),
        broken=_names_an_unsearched_path,
        must="must name paths that are searched",
        remedy="{nearest}",
    ),
    Rule(
        key="try_first",
        reads=("search", "arms"),
        broken=_is_a_number_as_text,
        must="must be a number",
        remedy="Write {spelling} (YAML reads {text} as text).",
    ),
    Rule(
        key="try_first",
        reads=("search", "arms"),
        broken=_leaves_a_range,
        must="must lie in the range that {cell} searches ({range})",
        remedy="Widen the range, or take the value out.",
    ),
    Rule(
        key="try_first",
        reads=("search", "arms", "regimes"),
        broken=_holds_for_no_cell,
        must="must name paths that one cell searches together, their conditions (when) included",
        remedy="Split the entry, or add the values that its conditions ask for.",
    ),
)
FIRST_RULES: tuple[Rule[Study], ...] = (
    Rule(
        key="try_first.copied.points",
        reads=("regimes", "arms", "tuning"),
        broken=_copies_for_no_cell,
        must="must be of cells that the study searches",
        remedy="{nearest}",
    ),
    Rule(
        key="try_first",
        reads=("budget.trials", "search", "arms"),
        broken=_tries_more_than_there_are_trials,
        must=(
            "must leave each cell at most budget.trials = {trials} configuration{s} to try first, "
            "with the recipe's own values"
        ),
        remedy="Set budget.trials to {num} (for {cell}), or shorten try_first.",
    ),
)
