"""A study from Python: its tables and findings, and running it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.analysis.show.render import as_json_text, as_markdown, as_terminal
from rethink_ray.protocol.empty_cells import empty_cells, is_all_of
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.spec.check import check_study
from rethink_ray.spec.load import validate
from rethink_ray.spec.study import Study

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResults:
    """Everything a study has come to so far."""

    where: str
    """Its directory or URI."""
    status: Literal["done", "incomplete", "stopped"]
    """``incomplete``: a machine failed a job too often, or a cell ran to its end without a score;
    ``stopped``: there is more to run."""
    trials: "pa.Table"
    """One row per trial, replicates included; ``param.<path>`` holds what was sampled."""
    rungs: "pa.Table"
    """One row per trial and finished length; ``<split>/<metric>`` in points."""
    assets: "pa.Table"
    """One row per asset that trials start from."""
    findings: Findings

    def as_dict(self) -> dict[str, Any]:
        """The findings as ``findings.json`` has them."""
        tree: dict[str, Any] = json.loads(as_json_text(self.findings))
        return tree

    def __str__(self) -> str:
        return as_terminal(self.findings)

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return as_markdown(self.findings)


def read(where: Path | str) -> StudyResults:
    """The study at a path or URI as it stands."""
    directory = StudyDirectory.open(where)
    state = directory.load_state()
    progress = progress_of(directory.study, state)
    if not progress.complete:
        return _results(directory, where, "stopped")
    is_empty = is_all_of(empty_cells(state, progress), directory.study)
    return _results(directory, where, "incomplete" if is_empty else "done")


def run_here(
    study: Path | str | Mapping[str, Any],
    out: str | None,
    *,
    address: str | None,
    slots: int | None,
) -> StudyResults:
    """The study has run as far as it can."""
    from rethink_ray.cluster.run import run_study
    from rethink_ray.commands.inputs import facts_of, started_or_continued, study_with_facts

    if isinstance(study, Mapping):
        asked, text = _study_of(study)
        facts = facts_of(asked, asked.study)
    else:
        asked, text, facts, _ = study_with_facts(str(study), [])
    root = out or f"studies/{asked.study}"
    directory = started_or_continued(root, asked, text, facts)
    outcome = run_study(directory, address=address, slots=slots)
    return _results(directory, root, outcome.status)


def _study_of(tree: Mapping[str, Any]) -> tuple[Study, str]:
    """A checked study from its tree, and the file it would be."""
    name = str(tree.get("study", "study"))
    study = validate(Study, tree, name)
    check_study(study, name)
    return study, yaml.safe_dump(json.loads(json.dumps(dict(tree))), sort_keys=False)


def _results(
    directory: StudyDirectory,
    where: Path | str,
    status: Literal["done", "incomplete", "stopped"],
) -> StudyResults:
    tables = read_tables(directory)
    return StudyResults(
        where=str(where),
        status=status,
        trials=tables.trials,
        rungs=tables.rungs,
        assets=tables.assets,
        findings=derive_findings(tables),
    )
