"""A study from Python: write it, plan it, run it, read its tables and findings."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import yaml

from rethink_ray.analysis.answer import Answer
from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.analysis.show.render import as_json_text, as_markdown, as_terminal
from rethink_ray.protocol.empty_cells import empty_cells, is_all_of
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.search.first_from_study import copy_first_points
from rethink_ray.session import (
    StudyInput,
    count_weights,
    gather_study_facts,
    load_study_input,
    start_or_continue,
)
from rethink_ray.spec.check import check_study
from rethink_ray.spec.load import validate
from rethink_ray.spec.study import Study

if TYPE_CHECKING:
    import pyarrow as pa

    from rethink_ray.drafting.draft import DraftedStudy
    from rethink_ray.search.plan import Plan
    from rethink_ray.training.model_files import TrainedModel

_log = logging.getLogger(__name__)

Status = Literal["done", "incomplete", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResults:
    """The tables and findings of a study, as its records are now.

    Example:
        >>> import rethink_ray
        >>> results = rethink_ray.read_study(finished_study)
        >>> results.status
        'done'
        >>> {"regime", "arm", "length", "test/ap"} <= set(results.rungs.column_names)
        True
    """

    where: str
    """Directory or URI of the study."""
    status: Status
    """``incomplete``: the machine lost a job too often, or a cell ran to its end without a score;
    ``stopped``: there is more to run."""
    trials: "pa.Table"
    """One row per trial, replicates included; ``param.<path>`` holds the sampled value."""
    rungs: "pa.Table"
    """One row per trial and finished length; ``<split>/<metric>`` in points."""
    assets: "pa.Table"
    """One row per asset that trials start from."""
    findings: Findings
    """Every claim with its estimate, interval, verdict and caveats."""
    report: Path | None = None
    """The report's page on this machine, as it was written last; None: there is none yet."""

    @property
    def answer(self) -> Answer:
        """What to train with in each regime, how sure that is, and what is open.

        Example:
            >>> import rethink_ray
            >>> answer = rethink_ray.read_study(finished_study).answer
            >>> answer.of("full").recommended.arm
            'pretrained'
        """
        return self.findings.answer

    def as_dict(self) -> dict[str, Any]:
        """The findings, with the keys of ``findings.json``."""
        tree: dict[str, Any] = json.loads(as_json_text(self.findings))
        return tree

    def __str__(self) -> str:
        return as_terminal(self.findings, is_short=True)

    def _repr_markdown_(self) -> str:
        """The findings as a notebook shows them."""
        return as_markdown(self.findings, is_short=True)


class DraftOptions(TypedDict, total=False):
    """What ``new`` may be told besides the folder and the hours; all of it may be left out."""

    out: Path | str
    """The study file; left out: the folder's name, in the current folder."""
    weights: Sequence[Path | str]
    """Files of weights to start from, beside those in the caches of libraries."""
    arms: Sequence[str]
    """The arms to compare; left out: those that make sense and fit the hours."""
    pace: Path | str
    """A file of paces; left out: this machine is timed for some seconds."""
    gpus: int
    """GPUs on each node; left out: those of this machine."""
    nodes: int
    """Equal machines."""


def new(folder: Path | str, hours: float = 8.0, **options: Unpack[DraftOptions]) -> "DraftedStudy":
    """Writes a study file for a folder of labelled pictures that fits the hours.

    It looks at the pictures, cuts the splits that are missing, and chooses arms, lengths and
    effort. Nothing is asked, downloaded or trained.

    Args:
        folder: of the pictures, or its ``data.yaml``.
        hours: that the study may take.
        options: ``out``, ``weights``, ``arms``, ``pace``, ``gpus`` and ``nodes``; see
            ``DraftOptions``.

    Returns:
        The path of the file, that of a picture of the pictures, and all that was seen and decided.

    Raises:
        SpecError: the file exists, weights or paces are none, or the hours are too few.
        DataError: the folder has no known format, or its data cannot be used.

    Example:
        >>> import rethink_ray
        >>> drafted = rethink_ray.new("photos", hours=8)  # doctest: +SKIP
        >>> results = rethink_ray.run(drafted.path)  # doctest: +SKIP
    """
    from rethink_ray.drafting.draft import DraftRequest, draft_study

    out, pace = options.get("out"), options.get("pace")
    request = DraftRequest(
        folder=Path(folder),
        hours=hours,
        out=None if out is None else Path(out),
        weights=tuple(Path(path) for path in options.get("weights", ())),
        arms=tuple(options.get("arms", ())),
        pace=None if pace is None else Path(pace),
        gpus=options.get("gpus"),
        nodes=options.get("nodes", 1),
    )
    return draft_study(request)


def plan(
    study: Path | str | Mapping[str, Any],
    *,
    slots: int | None = None,
    pace: Path | str | None = None,
) -> "Plan":
    """What a study will run, without running it: trials, jobs, updates, disk and hours.

    The study's data are read, and indexed at the first call; files of weights may be missing.

    Args:
        study: a study file, the name of one that ships, or its tree of keys and values.
        slots: trials at a time; None = as many as the paces were measured with, or one.
        pace: a file of paces, or a study that ran on the machine; None = those of the study in
            ``studies/NAME``, or the file that ``new`` wrote beside this one. Without any, ``hours``
            is None.

    Raises:
        SpecError, DataError: the study says something that cannot be run; ``pace`` holds no paces.

    Example:
        >>> import rethink_ray
        >>> plan = rethink_ray.plan("quickstart", slots=2)
        >>> plan.cells[0].cell.name, plan.cells[1].cell.name
        ('full/scratch', 'full/pretrained')
        >>> plan.steps, plan.separate_steps  # with trunks shared between lengths, and without
        (7236, 12096)
    """
    from rethink_ray.search.hours import estimate_hours
    from rethink_ray.search.known_paces import choose_paces, load_paces
    from rethink_ray.search.plan import plan_study

    measured = None if pace is None else load_paces(str(pace))
    given = _study_input(study, is_planned_only=True)
    name = None if isinstance(study, Mapping) else str(study)
    measured = measured or choose_paces(f"studies/{given.study.study}", name)
    slots = slots or (1 if measured is None else measured.slots)
    planned = plan_study(given.study, given.facts, slots=slots, count_weights=count_weights)
    if measured is None:
        return planned
    hours = estimate_hours(given.study, given.facts, measured.arms, slots=slots)
    return replace(planned, hours=hours)


def run(
    study: Path | str | Mapping[str, Any],
    out: str | None = None,
    *,
    address: str | None = None,
    slots: int | None = None,
    hours: float | None = None,
    report: bool = True,
) -> StudyResults:
    """Runs a study, or continues it, as far as it can; returns its tables and findings.

    A run that ends its study, or that its hours cut, writes the report as the command does. A
    study of which nothing is left to run is only read.

    Args:
        study: a study file, the name of one that ships, or its tree of keys and values.
        out: study directory or URI; None = ``studies/NAME``.
        address: of a running Ray cluster; None starts Ray on this machine and stops it again.
        slots: trials at a time on this machine; None = all cores.
        hours: end after so many hours, though the study may not be done; a later call goes on.
        report: false to leave the report unwritten.

    Returns:
        The results; ``status`` says whether the study is done.

    Raises:
        SpecError, DataError: the study says something that cannot be run.
        RecordError: another process runs it, or ``out`` holds another study.

    Example:
        >>> import rethink_ray
        >>> results = rethink_ray.run("my.yaml", out="studies/my")
        >>> results.status
        'done'
    """
    from rethink_ray.cluster.run import run_study
    from rethink_ray.search.time_limit import TimeLimit, require_hours

    limit = None
    if hours is not None:
        limit = TimeLimit(hours=require_hours(hours), clock=time.monotonic, began=time.monotonic())
    given = _study_input(study)
    where = out or f"studies/{given.study.study}"
    directory = start_or_continue(where, given)
    has_jobs = not progress_of(directory.study, directory.load_state()).complete
    outcome = run_study(directory, address=address, slots=slots, limit=limit)
    if report and has_jobs and outcome.is_report_due:
        _write_report(directory, where)
    return _read_results(directory, where, outcome.status)


def read_study(where: Path | str) -> StudyResults:
    """The tables and findings of a study that is running, stopped or finished.

    Args:
        where: its directory or URI.

    Raises:
        RecordError: there is no study, or its files are not as this program wrote them.

    Example:
        >>> import rethink_ray
        >>> results = rethink_ray.read_study(finished_study)
        >>> sorted(set(results.trials["purpose"].to_pylist()))
        ['replicate', 'search']
    """
    directory = StudyDirectory.open(where)
    state = directory.load_state()
    progress = progress_of(directory.study, state)
    if not progress.complete:
        return _read_results(directory, where, "stopped")
    is_empty = is_all_of(empty_cells(state, progress), directory.study)
    return _read_results(directory, where, "incomplete" if is_empty else "done")


def load_detector(path: Path | str) -> "TrainedModel":
    """A trained detector with its classes, ready to detect on this machine.

    Args:
        path: the folder of a run (``train``), or one that ``export --weights`` or ``export
            --format safetensors`` wrote.

    Returns:
        The model. ``detector`` is a ``torch.nn.Module``: ``detector.detect(images)`` takes pictures
        ``[3, H, W]``, float32 RGB in 0..1, of any size, and gives ``boxes_xyxy`` in their pixels,
        ``scores`` and ``labels`` for each; ``categories[k - 1]`` is the class of label k.

    Raises:
        RecordError: there is no model, or it is damaged.

    Example:
        >>> import torch, rethink_ray
        >>> model = rethink_ray.load_detector("model")
        >>> len(model.categories)
        6
        >>> [detections] = model.detector.detect([torch.zeros(3, 48, 64)])
        >>> detections["boxes_xyxy"].shape[1]
        4
    """
    from rethink_ray.training.run import load_model

    return load_model(Path(path))


def _study_input(
    study: Path | str | Mapping[str, Any], *, is_planned_only: bool = False
) -> StudyInput:
    if not isinstance(study, Mapping):
        return load_study_input(str(study), is_planned_only=is_planned_only)
    tree = json.loads(json.dumps(study, default=_as_json))
    name = str(tree.get("study", "study"))
    checked = validate(Study, tree, name)
    check_study(checked, name)
    text = yaml.safe_dump(tree, sort_keys=False)
    if is_planned_only:
        checked, text = copy_first_points(checked, text, name)
    facts = gather_study_facts(checked, checked.study, is_planned_only=is_planned_only)
    return StudyInput(study=checked, yaml_text=text, facts=facts)


def _write_report(directory: StudyDirectory, where: str) -> None:
    """The report is there; an error here is logged, because the records are whole without it."""
    from rethink_ray.reporting import report_study

    try:
        missing = report_study(directory, where).missing_sections
    except Exception as error:
        _log.warning("the report of %s is not written: %r; the records are whole", where, error)
        return
    for section in missing:
        _log.warning("the report of %s: %s", where, section.sentence)


def _as_json(value: object) -> object:
    """A value that JSON has no type for: a path, or a mapping that is no ``dict``."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _read_results(directory: StudyDirectory, where: Path | str, status: Status) -> StudyResults:
    tables, page = read_tables(directory), directory.report_page
    return StudyResults(
        where=str(where),
        status=status,
        trials=tables.trials,
        rungs=tables.rungs,
        assets=tables.assets,
        findings=derive_findings(tables),
        report=page if page.is_file() else None,
    )
