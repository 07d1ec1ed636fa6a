"""Which samples a claim compares: those that its selectors pick, put side by side.

Example: the claim ``side: {init: imagenet}``, ``against: {init: random}``. Samples that agree in
every column of the claim's ``match`` (detector, regime, ...) form a group. A side of a group may
hold several kinds of samples, such as tuned and untuned ones: each kind of one side is compared
with each kind of the other, schedule by schedule. Each such comparison becomes a ``Comparison``.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rethink_ray.judge.samples import ScoreSample
from rethink_ray.spec.claim import Claim, Selector, allowed, as_text

SPELT = (
    "detector",
    "backbone",
    "norm",
    "init",
    "frozen",
    "augment",
    "method",
    "regime",
    "split",
    "tuning",
    "arm",
)
"""Columns that sentences name, to say which comparison is meant."""
KIND_COLUMNS = (*SPELT, "metric")
"""Columns by which samples of one side are of different kinds."""
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
Key = tuple[frozenset[str], ...]
Curve = dict[str, ScoreSample]
"""Schedule -> sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedPair:
    """Two samples side by side; ``against`` is None where the claim is about one side alone."""

    weight: float
    """+1 or -1: the comparison adds up the differences of its pairs with these signs."""
    label: str
    """Name of this pair among those of its comparison (``6x``, ``ap75``); empty for a single one.
    """
    side: ScoreSample
    against: ScoreSample | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One test of a claim: the pairs of samples that it compares."""

    labels: Mapping[str, str]
    """Column -> its value on both sides, or both values as in ``imagenet against random``."""
    matched_pairs: tuple[MatchedPair, ...]
    """One pair for a plain difference, two for a difference of differences (``more``, ``along``),
    one for each length for a catch-up."""
    levels: tuple[MatchedPair, ...] = ()
    """Claims ``along`` a column: the pair at every value, in order. ``matched_pairs`` holds the
    first and the last."""
    ambiguous: bool = False
    """Several samples fit at one place; the first of them is compared."""

    @property
    def samples(self) -> tuple[ScoreSample, ...]:
        """Every sample that is compared."""
        used = self.levels or self.matched_pairs
        return tuple(s for m in used for s in (m.side, m.against) if s is not None)

    @property
    def lengths(self) -> tuple[float, ...]:
        """Schedule lengths of the claim's first side, each once."""
        lengths = (m.side.length for m in self.matched_pairs)
        return tuple(dict.fromkeys(length for length in lengths if length))

    @property
    def evidence(self) -> tuple[str, ...]:
        """Trial ids or lines of a table, each once."""
        return tuple(dict.fromkeys(e for s in self.samples for e in s.evidence))


def find_comparisons(claim: Claim, samples: Iterable[ScoreSample]) -> tuple[Comparison, ...] | str:
    """Every comparison that tests the claim, or the reason why there is none."""
    known = list(samples)
    fitting = _select(known, claim.where)
    kept = [s for s in fitting if claim.images.holds(s.images)]
    if not kept:
        return _nothing_fits(claim, fitting)
    for selector in (claim.side, claim.against or {}):
        if not _select(kept, selector):
            return f"no row with {_spell({**claim.where, **selector})}"
    return tuple(_group_and_match(claim, kept)) or _why_none(claim)


def _nothing_fits(claim: Claim, fitting: Sequence[ScoreSample]) -> str:
    if fitting:
        low, high = claim.images.at_least, claim.images.at_most
        span = f"{low} to {high}" if high else f"{low} or more"
        return f"no regime of {span} images"
    return f"no row with {_spell(claim.where)}"


def _why_none(claim: Claim) -> str:
    if claim.along:
        return f"fewer than two levels of {claim.along.column} on all else equal"
    if claim.more and claim.than:
        return f"no pair of rows with both {_spell(claim.more)} and {_spell(claim.than)}"
    if claim.expect == "catches_up" or claim.rung == "shortest":
        return "fewer than two schedule lengths on both sides"
    return f"no two rows that agree in {', '.join(claim.matched)} and the schedule"


def _select(samples: Sequence[ScoreSample], selector: Selector) -> list[ScoreSample]:
    """The samples that the selector accepts.

    A tuned column has several values; the selector must accept all of them.
    """
    left = list(samples)
    for column, values in selector.items():
        accepted = allowed(values)
        left = [s for s in left if column in s.labels and s.labels[column] <= accepted]
    return left


def _spell(selector: Selector) -> str:
    parts = (f"{c} {' or '.join(sorted(allowed(v)))}" for c, v in selector.items())
    return ", ".join(parts) or "any column"


def _group_and_match(claim: Claim, kept: Sequence[ScoreSample]) -> Iterator[Comparison]:
    """Group samples by the matched columns and then by kind, and compare kind with kind."""
    varying = _varying(claim)
    sides = _group(claim, claim.side, kept, varying)
    others = _group(claim, claim.against, kept, varying) if claim.against is not None else None
    for key, kinds in sides.items():
        if others is None:
            for one in kinds.values():
                yield from _compare(claim, one, None)
        else:
            for one, other in itertools.product(kinds.values(), others.get(key, {}).values()):
                yield from _compare(claim, one, other)


@dataclass(slots=True)
class _Rows:
    """The samples of one kind on one side of a group."""

    curves: dict[str, Curve]
    """Level -> schedule -> sample. The one level is empty unless the claim compares levels."""
    ambiguous: bool = False
    """Two samples have the same level and schedule; the second one is not used."""


def _varying(claim: Claim) -> tuple[str, ...]:
    """Columns by which samples of one side are of different kinds, for this claim."""
    inner = set(claim.more or {}) | set(claim.matched)
    if claim.along:
        inner.add(claim.along.column)
        if claim.along.column == "images" or "images" in claim.matched:
            inner.add("regime")
        if claim.along.column not in ("images", "schedule"):
            inner.add("arm")
    return tuple(column for column in KIND_COLUMNS if column not in inner)


def _group(
    claim: Claim, selector: Selector, kept: Sequence[ScoreSample], varying: tuple[str, ...]
) -> dict[Key, dict[Key, _Rows]]:
    """Values of the matched columns -> values of the varying columns -> samples of that kind."""
    matched = [c for c in claim.matched if not (claim.along and c == claim.along.column)]
    groups: dict[Key, dict[Key, _Rows]] = {}
    for sample in _select(kept, selector):
        unknown = [c for c in matched if c not in sample.labels and not _has_no_column(sample, c)]
        if unknown:
            continue
        for level in _levels_of(claim, sample):
            kinds = groups.setdefault(_key(sample, matched), {})
            rows = kinds.setdefault(_key(sample, varying), _Rows({}))
            curve = rows.curves.setdefault(level, {})
            rows.ambiguous |= sample.schedule in curve
            curve.setdefault(sample.schedule, sample)
    return groups


def _has_no_column(sample: ScoreSample, column: str) -> bool:
    """Whether the column is a setting of the recipe and the sample a published number."""
    return not sample.recipe and "." in column


def _key(sample: ScoreSample, columns: Sequence[str]) -> Key:
    return tuple(sample.labels.get(column, frozenset()) for column in columns)


def _levels_of(claim: Claim, sample: ScoreSample) -> Iterator[str]:
    """The levels that this sample belongs to.

    A level is a value of the column of ``along``, or one of the selectors ``more`` and ``than``.
    Other claims have one level, the empty one.
    """
    if claim.more is not None and claim.than is not None:
        for selector in (claim.more, claim.than):
            if _select([sample], selector):
                yield _spell(selector)
    elif claim.along is None:
        yield ""
    else:
        values = sample.labels.get(claim.along.column, frozenset())
        level = next(iter(values)) if len(values) == 1 else ""
        order = claim.along.order
        if NUMBER.match(level) if order is None else level in map(as_text, order):
            yield level


def _compare(claim: Claim, side: _Rows, against: _Rows | None) -> Iterator[Comparison]:
    if claim.along:
        matches = _match_along(claim, side, against)
    elif claim.more is not None and claim.than is not None:
        matches = _match_differences(claim, side, against)
    elif claim.expect == "catches_up":
        matches = _match_ladder(claim, side, against)
    else:
        matches = (
            ((m,), ())
            for m in _match_schedules(claim, side.curves[""], _curve(against, ""), 1.0, "")
        )
    ambiguous = side.ambiguous or bool(against and against.ambiguous)
    for matched_pairs, levels in matches:
        yield Comparison(
            labels=_labels(levels or matched_pairs),
            matched_pairs=matched_pairs,
            levels=levels,
            ambiguous=ambiguous,
        )


Matches = Iterator[tuple[tuple[MatchedPair, ...], tuple[MatchedPair, ...]]]
"""Matched pairs of each comparison, and its levels along a column."""


def _curve(rows: _Rows | None, level: str) -> Curve | None:
    return None if rows is None else rows.curves.get(level, {})


def _match_schedules(
    claim: Claim, side: Curve, against: Curve | None, weight: float, label: str
) -> Iterator[MatchedPair]:
    """The samples of two curves at the claim's rung, or at each that both have."""
    if claim.rung == "best" and side and (against is None or against):
        best = _best(claim, against) if against else None
        yield MatchedPair(weight=weight, label=label, side=_best(claim, side), against=best)
        return
    shared = sorted((s for s in side if against is None or s in against), key=_order)
    if claim.rung == "longest":
        shared = shared[-1:]
    elif claim.rung == "shortest":
        shared = shared[:1] if len(shared) > 1 else []
    for schedule in shared:
        other = against[schedule] if against else None
        yield MatchedPair(weight=weight, label=label, side=side[schedule], against=other)


def _best(claim: Claim, curve: Curve) -> ScoreSample:
    """The sample at the schedule with the best score on the select split; of equals the shortest.

    If no schedule has such a score, it is the longest.
    """
    sign = 1.0 if claim.goal == "maximize" else -1.0
    ordered = sorted(curve.values(), key=lambda s: _order(s.schedule))
    merits = [sign * s.merit for s in ordered if s.merit is not None]
    if not merits:
        return ordered[-1]
    return next(s for s in ordered if s.merit is not None and sign * s.merit == max(merits))


def _order(schedule: str) -> tuple[float, str]:
    """Schedules by their number; those without one (``converged``) first."""
    number = NUMBER.match(schedule)
    return (float(number[0]) if number else -1.0, schedule)


def _match_differences(claim: Claim, side: _Rows, against: _Rows | None) -> Matches:
    assert claim.more is not None
    assert claim.than is not None
    both: list[list[MatchedPair]] = []
    for weight, selector in ((1.0, claim.more), (-1.0, claim.than)):
        level = _spell(selector)
        curves = (side.curves.get(level, {}), _curve(against, level))
        label = " ".join(sorted(v for values in selector.values() for v in allowed(values)))
        both.append(list(_match_schedules(claim, *curves, weight, label)))
    by_schedule = [{m.side.schedule: m for m in pairs} for pairs in both]
    if claim.rung == "best" and all(both):
        yield (both[0][0], both[1][0]), ()
        return
    for schedule, more in by_schedule[0].items():
        if schedule in by_schedule[1]:
            yield (more, by_schedule[1][schedule]), ()


def _match_along(claim: Claim, side: _Rows, against: _Rows | None) -> Matches:
    """The pairs of the first and the last level, and those of all levels, schedule by schedule."""
    assert claim.along is not None
    if claim.along.order is not None:
        order = [as_text(v) for v in claim.along.order if as_text(v) in side.curves]
    else:
        order = sorted(side.curves, key=_order)
    rows: dict[str, list[MatchedPair]] = {}
    for level in order:
        for pair in _match_schedules(claim, side.curves[level], _curve(against, level), 1.0, level):
            together = claim.rung == "best" or claim.along.column == "schedule"
            rows.setdefault("" if together else pair.side.schedule, []).append(pair)
    first, last = (1.0, -1.0) if claim.along.trend != "rises" else (-1.0, 1.0)
    for levels in rows.values():
        if len(levels) > 1:
            ends = (replace(levels[0], weight=first), replace(levels[-1], weight=last))
            yield ends, tuple(levels)


def _match_ladder(claim: Claim, side: _Rows, against: _Rows | None) -> Matches:
    """Every numbered schedule that both sides have, shortest first."""
    chasing, chased = side.curves[""], _curve(against, "") or {}
    lengths = [s for s in sorted(chasing, key=_order) if chasing[s].length is not None]
    if claim.leader == "same":
        lengths = [s for s in lengths if s in chased]
    chased = {s: sample for s, sample in chased.items() if sample.length is not None}
    if len(lengths) > 1 and len(chased) > 1:
        leaders = chased if claim.leader == "same" else dict.fromkeys(lengths, _best(claim, chased))
        pairs = (
            MatchedPair(weight=1.0, label=s, side=chasing[s], against=leaders[s]) for s in lengths
        )
        yield tuple(pairs), ()


def _labels(pairs: Sequence[MatchedPair]) -> dict[str, str]:
    """The columns of a comparison as sentences name them; columns that its pairs differ in are left
    out."""
    labels: dict[str, str] = {}
    for column in SPELT:
        sides = {_text(m.side, column) for m in pairs}
        others = {_text(m.against, column) for m in pairs if m.against}
        if len(sides) == 1 and len(others) <= 1:
            one, other = sides.pop(), others.pop() if others else None
            labels[column] = one if other in (None, one) else f"{one} against {other}"
    return labels


def _text(sample: ScoreSample, column: str) -> str:
    return " or ".join(sorted(sample.labels.get(column, frozenset({"-"}))))
