"""From a folder of labelled pictures to a study file that fits the hours of a machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rethink_ray.data.contact_sheet import draw_contact_sheet
from rethink_ray.data.splits import open_split
from rethink_ray.drafting.contenders import (
    Contenders,
    choose_family,
    propose_contenders,
    select_arms,
)
from rethink_ray.drafting.fitting import FittedDesign, fit_design
from rethink_ray.drafting.folder import STUDY_NAME, SeenFolder, look_at_folder, name_study
from rethink_ray.drafting.machine import Machine, find_machine
from rethink_ray.drafting.study_text import StudyParts, build_tree, write_text
from rethink_ray.drafting.timed_arms import TimedArms, read_arm_paces, time_arms
from rethink_ray.drafting.weights import find_weights
from rethink_ray.drafting.words import (
    Sentences,
    comment_keys,
    describe_design,
    describe_pictures,
    describe_sides,
    describe_starts,
    describe_waiting,
    name_next,
    pose_question,
)
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.search.design import Design, DesignRequest, list_shares
from rethink_ray.search.noise_prior import expect_noise
from rethink_ray.search.paces import PACE_SUFFIX, MeasuredPaces, pace_of, write_paces
from rethink_ray.session import gather_study_facts
from rethink_ray.spec.check import check_study
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.load import validate
from rethink_ray.spec.study import Study
from rethink_ray.spec.yaml_text import parse_yaml
from rethink_ray.training.amx import CPUINFO

DEFAULT_HOURS = 8.0
"""An evening and a night."""
TIMED_UNIT = 100
"""Updates in 1x of the study whose arms are timed; they train a few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRequest:
    """The folder, the hours and the machine of a study file; all but the folder may be left out."""

    folder: Path
    """Of the pictures, or its ``data.yaml``."""
    hours: float = DEFAULT_HOURS
    out: Path | None = None
    """The file to write; None: the folder's name, in the current folder."""
    weights: tuple[Path, ...] = ()
    """Files of weights to start from."""
    arms: tuple[str, ...] = ()
    """The arms; empty: those that make sense and fit the hours."""
    pace: Path | None = None
    """A file of paces; None: this machine is timed."""
    gpus: int | None = None
    """On each node; None: those of this machine."""
    nodes: int = 1
    cpuinfo: Path = CPUINFO
    """What Linux says of this machine's CPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftedStudy:
    """A study file that was written, and what was seen and decided on the way."""

    path: Path
    """The study file."""
    contact_sheet: Path
    """A picture of some pictures with their boxes."""
    lines: tuple[str, ...]
    """Everything that was seen and decided, as the command prints it."""

    def __str__(self) -> str:
        return "\n".join(self.lines)


Say = Callable[[str], None]


def draft_study(request: DraftRequest, say: Say = lambda line: None) -> DraftedStudy:
    """A commented study file is written that ``plan`` accepts and that fits the hours.

    Nothing is asked and nothing is downloaded.

    Args:
        request: the folder, the hours, the machine.
        say: called with each line as soon as it is known.

    Raises:
        SpecError: the file exists already, a file of weights or paces is none, or the hours are too
            few; the message says what to do.
        DataError: the folder has no known format, or its data cannot be used.
    """
    lines: list[str] = []

    def tell(sentences: Sentences) -> None:
        for label, sentence in sentences:
            lines.append(f"{label + ':' * bool(label):<10} {sentence}")
            say(lines[-1])

    _require_hours(request.hours)
    path = _choose_path(request)
    seen = look_at_folder(request.folder)
    draft = _open_draft(request, seen, path)
    sheet = path.with_name(f"{path.stem}_pictures.jpg")
    draw_contact_sheet(open_split(seen.spec, "train"), sheet)
    tell([*draft.pictures, ("Look", str(sheet)), *draft.starts])
    if request.pace is None:
        tell([("Timing", "a few updates of each arm, and some scored pictures")])
    timed = draft.time_arms()
    measured = timed.measured
    tell(describe_waiting(timed.waiting))
    fitted = fit_design(
        draft.request_design(measured), draft.build_study, draft.facts, measured.arms
    )
    design = draft.describe(fitted, measured)
    tell(design)
    write_atomically(path, draft.write(fitted, design))
    write_paces(path.with_suffix(PACE_SUFFIX), replace(measured, slots=draft.machine.slots))
    tell([("Study", str(path)), *name_next(path)])
    return DraftedStudy(path=path, contact_sheet=sheet, lines=tuple(lines))


def _require_hours(hours: float) -> None:
    if not 0.0 < hours < float("inf"):
        remedy = "For instance --hours 8 for an evening and a night."
        raise SpecError(explain("--hours", "must be a number above zero", hours, remedy))


def _choose_path(request: DraftRequest) -> Path:
    """Where the study file goes; its name is that of the study.

    Raises:
        SpecError: a file or a study of this name is there already, or it is no name of a study.
    """
    path = request.out or Path(f"{name_study(request.folder)}.yaml")
    if path.suffix not in (".yaml", ".yml") or not STUDY_NAME.fullmatch(path.stem):
        must = "must name a YAML file with letters, digits, dots, - and _"
        remedy = f"For instance --out {name_study(Path(path.stem or request.folder))}.yaml."
        raise SpecError(explain("--out", must, str(path), remedy))
    if not path.parent.is_dir():
        must, remedy = "must lie in a folder that is there", "Make it, or name another."
        raise SpecError(explain("--out", must, str(path), remedy))
    other = f"--out {path.stem}_2.yaml"
    if path.exists():
        remedy = f"Run it, delete it, or name another file: {other}."
        raise SpecError(explain(str(path), "must not exist yet", "a file", remedy))
    where = f"studies/{path.stem}"
    if StudyDirectory.holds_study(where):
        remedy = f"Read it with `rethink-ray answer {where}`, or name another file: {other}."
        raise SpecError(explain(where, "must not hold a study yet", "one", remedy))
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A folder and its contenders, before a design is chosen."""

    request: DraftRequest
    seen: SeenFolder
    path: Path
    machine: Machine
    contenders: Contenders
    starts: Sentences
    facts: DataFacts
    every_arm: Study
    """All arms in all regimes, to be timed."""

    @property
    def pictures(self) -> Sentences:
        return describe_pictures(self.seen, self.facts)

    @property
    def arms(self) -> Sequence[str]:
        return [*self.every_arm.arms]

    def build_study(self, design: Design) -> Study:
        """The study of a design."""
        return _build_study(self._parts(design), self.path)

    def _parts(self, design: Design) -> StudyParts:
        return StudyParts(
            name=self.path.stem,
            question=pose_question(self.seen, design),
            data=self.seen.data,
            contenders=self.contenders,
            design=design,
            machine=self.machine,
        )

    def time_arms(self) -> TimedArms:
        """The pace of every arm, from a file or from this machine."""
        if self.request.pace is not None:
            return read_arm_paces(self.request.pace, self.arms)
        return time_arms(self.every_arm, self.facts, self.machine)

    def request_design(self, measured: MeasuredPaces) -> DesignRequest:
        """The hours, slots, paces and numbers of pictures that a design depends on."""
        paces = [(arm, pace_of(measured.arms, "", arm)) for arm in self.arms]
        num_images = self.seen.overview.num_images
        splits = {self.seen.spec.select_split, self.seen.spec.report_split}
        upstream = self.contenders.upstream_steps if "glyphs" in self.arms else 0
        known = [(arm, pace) for arm, pace in paces if pace is not None]
        return DesignRequest(
            hours=self.request.hours,
            slots=self.machine.slots,
            paces=known,
            least_arms=len(known) if self.request.arms else 2,
            num_images=self.seen.num_train,
            num_select=num_images[self.seen.spec.select_split],
            num_report=num_images[self.seen.spec.report_split] if len(splits) > 1 else 0,
            batch_size=self.contenders.batch_size,
            rate_range=self.contenders.rate_range,
            noise=expect_noise(self.seen.num_train),
            asset_seconds=upstream * known[0][1].seconds_per_update,
        )

    def describe(self, fitted: FittedDesign, measured: MeasuredPaces) -> Sentences:
        """The sentences about the hours of the study and the differences that it will tell."""
        request = self.request_design(measured)
        return describe_design(self.seen, fitted, request, (measured, self.machine))

    def write(self, fitted: FittedDesign, design: Sentences) -> str:
        """The text of the study file."""
        parts = self._parts(fitted.design)
        header = [
            ("Question", parts.question),
            *self.pictures,
            *design,
            describe_sides(self.contenders),
            *self.starts,
            *name_next(self.path),
        ]
        text = write_text(build_tree(parts), header, comment_keys())
        read_back = validate(Study, parse_yaml(text, str(self.path)), str(self.path))
        assert read_back == fitted.study, "the file says what was planned"
        return text


def _open_draft(request: DraftRequest, seen: SeenFolder, path: Path) -> _Draft:
    """The contenders of a folder on a machine, and the facts of its data."""
    machine = find_machine(request.gpus, request.nodes, request.cpuinfo)
    is_small = machine.gpus == 0
    family = choose_family(seen, is_small=is_small)
    weights = find_weights(family, request.weights, is_small=is_small)
    contenders = propose_contenders(seen, weights, is_small=is_small, has_amx=machine.has_amx)
    if request.arms:
        contenders = select_arms(contenders, request.arms)
    shares = {share for some in list_shares(seen.num_train) for share in some}
    whole = Design(
        arms=tuple(contenders.arms),
        shares=tuple(sorted(shares, reverse=True)),
        unit=TIMED_UNIT,
        lengths=(2.0, 4.0),
        trials=2,
        searches=1,
        replicates=3,
    )
    parts = StudyParts(
        name=path.stem,
        question="",
        data=seen.data,
        contenders=contenders,
        design=whole,
        machine=machine,
    )
    every_arm = _build_study(parts, path)
    return _Draft(
        request=request,
        seen=seen,
        path=path,
        machine=machine,
        contenders=contenders,
        starts=describe_starts(contenders, weights),
        facts=gather_study_facts(every_arm, str(path), is_planned_only=True),
        every_arm=every_arm,
    )


def _build_study(parts: StudyParts, path: Path) -> Study:
    study = validate(Study, build_tree(parts), str(path))
    check_study(study, str(path))
    return study
