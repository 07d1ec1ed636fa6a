"""The best configurations of another study, as points that the arms of this study try first.

Each arm of a regime takes equally many, because an arm with more of them has a better start.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rethink_ray.protocol.cell_rules import searches_of_cell
from rethink_ray.protocol.cell_view import CellView, StudyView
from rethink_ray.protocol.incumbents import rank_key
from rethink_ray.records.types import Member
from rethink_ray.spec.first_points import FirstValues
from rethink_ray.spec.first_values import complete_values
from rethink_ray.spec.hashing import digest_of
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, copied_cell, space_of
from rethink_ray.spec.rules.first_values import describe_parameter
from rethink_ray.spec.settings import used_value_at
from rethink_ray.spec.space import Value
from rethink_ray.spec.study import Study


@dataclass(slots=True, kw_only=True)
class BestPoints:
    """The points of every cell, and what a reader should know about them."""

    points: dict[str, tuple[FirstValues, ...]] = field(default_factory=dict)
    """``regime/arm`` -> its points, the best at the longest length first."""
    without_points: list[str] = field(default_factory=list)
    """Cells to whose arm the other study has no finished trial."""
    remarks: list[str] = field(default_factory=list)
    """Sentences about points that are left out and values that are not taken over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidates:
    """What a cell could try: points that it can run, the best first, each once."""

    points: tuple[FirstValues, ...]
    num_incumbents: int
    """So many of them, the first ones, are incumbents."""
    remarks: tuple[str, ...]


def choose_best_points(
    study: Study, other: StudyView, regime_sizes: Mapping[str, int]
) -> BestPoints:
    """The points that each cell of a study takes from another study.

    A cell takes those of the arm of its name, in the regime of its name, or else in the largest
    regime: the incumbents from the longest length down, then the other trials, those that came
    furthest first. Each arm of a regime takes as many as the arm with the most incumbents has, as
    far as ``budget.trials`` leaves room. The recipe's own values are tried anyway and do not count.

    Args:
        study: whose cells are to try them.
        other: the other study and its records.
        regime_sizes: images of its regimes.
    """
    best = BestPoints()
    for regime in study.regimes:
        candidates: dict[Cell, _Candidates] = {}
        for cell in cells_of(study):
            if cell.regime != regime or copied_cell(study, cell) is not None:
                continue
            if not space_of(study, cell):
                continue
            source = _find_source(cell, other, regime_sizes)
            if source is None:
                best.without_points.append(cell.name)
                continue
            if source.regime != regime:
                text = f"{cell.name} takes the points of {source.name}, the largest regime there"
                best.remarks.append(text)
            candidates[cell] = _find_candidates(study, cell, other, source)
            best.remarks += candidates[cell].remarks
        _share_out(study, candidates, best)
    return best


def _share_out(study: Study, candidates: Mapping[Cell, _Candidates], best: BestPoints) -> None:
    """Gives each cell of a regime equally many points."""
    if not candidates:
        return
    incumbents = max(one.num_incumbents for one in candidates.values())
    room = min(_room_of(study, cell) for cell in candidates)
    if incumbents > room:
        best.remarks.append(
            f"{next(iter(candidates)).regime}: {max(room, 0)} of {incumbents} incumbents are "
            f"taken: budget.trials = {study.budget.trials} leaves room for no more"
        )
    for cell, one in candidates.items():
        taken = one.points[: max(0, min(incumbents, room))]
        if taken:
            best.points[cell.name] = taken


def _room_of(study: Study, cell: Cell) -> int:
    """Trials beside the recipe's own values and the arm's own entries."""
    return study.budget.trials - 1 - len(study.arms[cell.arm].try_first)


def _find_source(cell: Cell, other: StudyView, regime_sizes: Mapping[str, int]) -> Cell | None:
    """The cell of the other study whose points a cell takes; None if its arm has no result."""
    regimes = sorted(
        other.study.regimes, key=lambda name: (name != cell.regime, -regime_sizes[name])
    )
    for regime in regimes if cell.arm in other.study.arms else ():
        source = Cell(regime, cell.arm)
        if any(other.cell(s).incumbents for s in searches_of_cell(other.study, source)):
            return source
    return None


def _find_candidates(study: Study, cell: Cell, other: StudyView, source: Cell) -> _Candidates:
    seen = {digest_of(complete_values(study, cell, {}))}  # the recipe's own
    points: list[FirstValues] = []
    remarks: dict[str, None] = {}
    num_incumbents = 0
    for member, is_incumbent in _rank_members(other, source):
        values = _values_of(study, cell, other.study, source, member)
        outside = _find_outside(study, cell, member, values)
        if outside:
            if is_incumbent:
                remarks[f"{cell.name} leaves out a point: {outside}"] = None
            continue
        if digest_of(values) in seen:
            continue
        seen.add(digest_of(values))
        points.append(values)
        num_incumbents += is_incumbent
        for path in _list_unsearched(study, cell, member):
            remarks[f"{cell.name} does not search {path}: its own value stands"] = None
    return _Candidates(points=tuple(points), num_incumbents=num_incumbents, remarks=tuple(remarks))


def _rank_members(other: StudyView, source: Cell) -> Iterator[tuple[Member, bool]]:
    """Every finished trial of a cell, each once, and whether it is an incumbent."""
    views = [other.cell(search) for search in searches_of_cell(other.study, source)]
    incumbents: dict[str, Member] = {}
    for length in sorted(views[0].ladder.lengths, reverse=True):
        for view in views:
            if length in view.incumbents:
                incumbents.setdefault(view.incumbents[length].trial_id, view.incumbents[length])
    for member in incumbents.values():
        yield member, True
    others = [(view, m) for view in views for m in view.members("search")]
    ranked = [(_progress_of(view, m), m) for view, m in others if m.trial_id not in incumbents]
    for progress, member in sorted(ranked, key=lambda pair: pair[0] or (0.0, 0.0, "")):
        if progress is not None:
            yield member, False


def _progress_of(view: CellView, member: Member) -> tuple[float, float, str] | None:
    """Sorts trials by their longest length, longest first, then by score; None without a score."""
    for length in sorted(view.ladder.lengths_of(member), reverse=True):
        score = view.state.metric(member.trial_id, length, view.ladder.metric)
        merit, trial_id = rank_key(score, member.trial_id)
        if math.isfinite(merit):
            return (-length, merit, trial_id)
    return None


def _values_of(study: Study, cell: Cell, other: Study, source: Cell, member: Member) -> FirstValues:
    """A trial's values at the paths that a cell searches.

    A path that the other study fixed has its fixed value where the range holds it, and the recipe's
    value elsewhere.
    """
    searched_there, fixed = space_of(other, source), base_recipe(other, source)
    values: dict[str, Value] = {}
    for path, parameter in space_of(study, cell).items():
        if path in member.params:
            values[path] = member.params[path]
        elif path not in searched_there:
            value = used_value_at(fixed, path)
            if parameter.contains(value):
                values[path] = value
    return complete_values(study, cell, values)


def _find_outside(study: Study, cell: Cell, member: Member, values: FirstValues) -> str:
    """``optimizer.lr 0.2 is outside log_uniform [0.002, 0.1]`` for the first such value, or ''."""
    space = space_of(study, cell)
    for path, value in values.items():
        if path in member.params and not space[path].contains(value):
            return f"{path} {value} is outside {describe_parameter(space[path])}"
    return ""


def _list_unsearched(study: Study, cell: Cell, member: Member) -> Iterator[str]:
    """Paths that the trial sampled and that the cell sets to another value."""
    space, recipe = space_of(study, cell), base_recipe(study, cell)
    for path, value in member.params.items():
        if path not in space and used_value_at(recipe, path) != value:
            yield path
