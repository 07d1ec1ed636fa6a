"""Effects side by side across studies and published tables: arm minus arm at one schedule.

An effect can be compared between data sets and recipes better than an absolute score. Scores
themselves are set side by side only if two studies ask the same question of the same data: if their
fingerprints agree.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rethink_ray.analysis.read.published_samples import published_samples
from rethink_ray.analysis.read.published_tables import is_published, load_published
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.judge.claim_words import find_varying_columns, say_setting
from rethink_ray.judge.matching import MatchedPair, find_comparisons
from rethink_ray.judge.measurements import measure_difference
from rethink_ray.judge.read.study_scores import read_scores
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.statistics import Estimate, mean_of
from rethink_ray.protocol.cell_rules import has_looks
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.store import is_uri, without_secrets
from rethink_ray.spec.claim import MATCHED, Claim, Selector
from rethink_ray.spec.errors import SpecError, explain

CLASSIFIER = ("imagenet", "jft300m", "file", "upstream", "timm", "hub")
FROZEN = ("backbone", "neck", "heads")
TUNED = ("none", "stem", "layer1", "layer2", "layer3", "layer4")
ROLES: dict[str, Selector] = {
    "scratch": {"init": "random", "method": "supervised"},
    "fine-tuned": {"init": CLASSIFIER, "frozen": TUNED, "method": "supervised"},
    "frozen": {"init": CLASSIFIER, "frozen": "backbone", "method": "supervised"},
    "whole detector": {"init": "detector", "frozen": TUNED, "method": "supervised"},
    "frozen whole detector": {"init": "detector", "frozen": FROZEN, "method": "supervised"},
    "direct": {"init": "direct"},
    "self-trained": {"init": "random", "method": "self_training"},
}
CONTRASTS = (
    ("fine-tuned", "scratch"),
    ("frozen", "scratch"),
    ("frozen", "fine-tuned"),
    ("whole detector", "scratch"),
    ("whole detector", "fine-tuned"),
    ("frozen whole detector", "whole detector"),
    ("direct", "scratch"),
    ("direct", "fine-tuned"),
    ("self-trained", "scratch"),
)
COMPARED_METRIC = "ap"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSource:
    """One study or one table of published numbers."""

    name: str
    samples: tuple[ScoreSample, ...]
    fingerprint: str
    """Of the study and of its data; empty for published numbers."""
    has_looks: bool = False
    """It adds replicates until its comparisons are decided, for which effects do not allow."""

    @property
    def reported(self) -> bool:
        """Whether its numbers are single published ones."""
        return not self.fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One contender minus another at one schedule in one source."""

    contrast: str
    """``frozen - scratch``."""
    schedule: str
    source: str
    setting: str
    images: int
    regime: str
    matched_pair: MatchedPair
    estimate: Estimate | None
    """In points; None where a study has no replicates there yet."""
    reported: bool

    @property
    def evidence(self) -> tuple[str, ...]:
        """Trial ids, or lines of tables, of both sides."""
        against = self.matched_pair.against
        return (*self.matched_pair.side.evidence, *(against.evidence if against else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The same effect in two studies, and how far apart it is."""

    contrast: str
    schedule: str
    regime: str
    sources: tuple[str, str]
    estimate: Estimate | None
    """The second's effect minus the first's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsoluteScore:
    """An absolute score; only of studies whose fingerprints agree."""

    source: str
    regime: str
    arm: str
    schedule: str
    estimate: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparisons:
    """Everything that can be compared across sources."""

    sources: tuple[ComparedSource, ...]
    effects: tuple[Effect, ...]
    gaps: tuple[Gap, ...]
    scores: tuple[AbsoluteScore, ...]


def read_source(name: str) -> ComparedSource:
    """A study directory, a CSV file, or a table that ships.

    Raises:
        DataError: a table that cannot be read.
        RecordError: a directory that holds no study.
    """
    if is_published(name):
        samples = published_samples(load_published(name))
        return ComparedSource(name=name, samples=tuple(samples), fingerprint="")
    directory = StudyDirectory.open(name)
    tables = read_tables(directory)
    return ComparedSource(
        name=(without_secrets(name) if is_uri(name) else name).rstrip("/"),
        samples=read_scores(tables).list_samples(),
        fingerprint=f"{directory.fingerprint}/{tables.facts.fingerprint}",
        has_looks=has_looks(tables.study),
    )


def compare_sources(sources: Sequence[ComparedSource]) -> Comparisons:
    """Effects of every source, gaps between studies, and scores where fingerprints agree.

    Raises:
        SpecError: fewer than two sources, or one of them twice.
    """
    names = [s.name for s in sources]
    if len(names) < 2 or len(set(names)) < len(names):
        must = "must name two or more different studies or tables"
        remedy = "For one alone: rethink-ray findings."
        raise SpecError(explain("compare", must, ", ".join(names), remedy))
    effects = [effect for source in sources for effect in effects_of(source)]
    order = {f"{a} - {b}": i for i, (a, b) in enumerate(CONTRASTS)}
    effects.sort(key=lambda e: (order[e.contrast], _place(e), names.index(e.source)))
    return Comparisons(
        sources=tuple(sources),
        effects=tuple(effects),
        gaps=tuple(_gaps(effects)),
        scores=tuple(_scores(sources)),
    )


def effects_of(source: ComparedSource) -> Iterator[Effect]:
    """Every contrast at every schedule that both its sides have."""
    for one, other in CONTRASTS:
        claim = Claim(
            says=f"{one} - {other}",
            side=ROLES[one],
            against=ROLES[other],
            where={"metric": COMPARED_METRIC},
            match=tuple(c for c in MATCHED if c not in _free(one, other)),
            rung="each",
        )
        comparisons = find_comparisons(claim, source.samples)
        if isinstance(comparisons, str):
            continue
        columns = find_varying_columns(comparisons)
        for comparison in comparisons:
            pair = comparison.matched_pairs[0]
            # the schedule has a column of its own
            setting = say_setting(replace(comparison, levels=comparison.matched_pairs), columns)
            yield Effect(
                contrast=claim.says,
                schedule=pair.side.schedule,
                source=source.name,
                setting=setting,
                images=pair.side.images,
                regime=comparison.labels.get("regime", ""),
                matched_pair=pair,
                estimate=measure_difference([pair]).effect,
                reported=source.reported,
            )


def _free(one: str, other: str) -> set[str]:
    """Columns in which two roles may differ; both from a classifier means from the same one."""
    same_init = ROLES[one]["init"] == ROLES[other]["init"]
    return {"frozen", "method"} | (set() if same_init else {"init"})


def _place(effect: Effect) -> tuple[float, str]:
    length = effect.matched_pair.side.length
    return (float("inf") if length is None else length, effect.schedule)


def _gaps(effects: Sequence[Effect]) -> Iterator[Gap]:
    """Effects of two studies in regimes of one name, with replicates on both sides."""
    tested = [e for e in effects if not e.reported and e.estimate is not None]
    for i, one in enumerate(tested):
        for other in tested[i + 1 :]:
            same = (one.contrast, one.schedule, one.regime)
            if one.source != other.source and same == (
                other.contrast,
                other.schedule,
                other.regime,
            ):
                pairs = (
                    replace(other.matched_pair, weight=1.0),
                    replace(one.matched_pair, weight=-1.0),
                )
                yield Gap(
                    contrast=one.contrast,
                    schedule=one.schedule,
                    regime=one.regime,
                    sources=(one.source, other.source),
                    estimate=measure_difference(pairs).effect,
                )


def _scores(sources: Sequence[ComparedSource]) -> Iterator[AbsoluteScore]:
    prints = [s.fingerprint for s in sources]
    for source in sources:
        if source.reported or prints.count(source.fingerprint) < 2:
            continue
        for sample in source.samples:
            if sample.metric == COMPARED_METRIC:
                yield AbsoluteScore(
                    source=source.name,
                    regime=_only(sample, "regime"),
                    arm=_only(sample, "arm"),
                    schedule=sample.schedule,
                    estimate=mean_of(list(sample.values.values()), sample.looks),
                )


def _only(sample: ScoreSample, column: str) -> str:
    return next(iter(sample.labels[column]))
