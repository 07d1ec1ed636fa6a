"""The values that a search tries before it proposes any: the recipe's, then ``try_first``'s.

All of them stand at the beginning of a cell's trials, so samplers see their scores as they see the
scores of any other trial.
"""

from collections.abc import Mapping

from rethink_ray.spec.first_points import CopiedPoints, FirstFromStudy, FirstValues
from rethink_ray.spec.hashing import digest_of
from rethink_ray.spec.resolve import Cell, base_values, space_of
from rethink_ray.spec.settings import LENGTH_PATH
from rethink_ray.spec.space import Parameter, Value
from rethink_ray.spec.study import Study


def first_values(study: Study, cell: Cell) -> tuple[dict[str, Value], ...]:
    """What a cell tries first, in order: the recipe's own values, then each entry of ``try_first``.

    An entry of the study, or a point that it copied, comes before those of the arm. It is left out
    where ``applies_to`` is false, and where an earlier configuration has the same values. A path
    that an entry does not name has the recipe's value.
    """
    entries = (*entries_of_study(study, cell), *study.arms[cell.arm].try_first)
    applying = [entry for entry in entries if applies_to(study, cell, entry)]
    configurations = [complete_values(study, cell, entry) for entry in ({}, *applying)]
    return tuple({digest_of(values): values for values in configurations}.values())


def entries_of_study(study: Study, cell: Cell) -> tuple[FirstValues, ...]:
    """The entries of the study's ``try_first`` for a cell; those copied for it, if it names another
    study."""
    if not isinstance(study.try_first, FirstFromStudy):
        return study.try_first
    copied = study.try_first.copied
    return () if copied is None else copied.points.get(Cell(cell.regime, cell.arm).name, ())


def copied_points_of(study: Study) -> CopiedPoints | None:
    """The points that the study copied from another one; None if it copied none."""
    return study.try_first.copied if isinstance(study.try_first, FirstFromStudy) else None


def applies_to(study: Study, cell: Cell, entry: FirstValues) -> bool:
    """Whether a cell searches every path of an entry, the conditions of these paths included."""
    return entry.keys() <= complete_values(study, cell, entry).keys()


def sort_for_sampling(space: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Sorts the parameters of a space so that a condition is sampled before what depends on it."""
    order = sorted(space, key=lambda path: (bool(space[path].when), path))
    return {path: space[path] for path in order}


def complete_values(study: Study, cell: Cell, entry: Mapping[str, Value]) -> dict[str, Value]:
    """The entry's values, and the recipe's at the other active paths of the cell."""
    base = base_values(study, cell)
    values: dict[str, Value] = {}
    for path, parameter in sort_for_sampling(space_of(study, cell)).items():
        if parameter.active({**base, **values}):
            values[path] = _as_searched(path, parameter, entry.get(path, base[path]))
    return values


def _as_searched(path: str, parameter: Parameter, value: Value) -> Value:
    """Returns the value as a sampler returns it: one of the options, or a number of the range.

    The recipe's length may be no option; the longest option then takes its place.
    """
    if parameter.choice is None:
        is_float = parameter.kind != "int_uniform" and isinstance(value, int | float)
        return float(value) if is_float else value  # type: ignore[arg-type]
    same_kind = [o for o in parameter.choice if isinstance(o, bool) == isinstance(value, bool)]
    equal = [option for option in same_kind if option == value]
    if equal:
        return equal[0]
    if path == LENGTH_PATH:
        return max(parameter.choice, key=lambda option: float(option or 0.0))
    return value
