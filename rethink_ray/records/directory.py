"""The study directory: the one place a study lives in, and the names of everything inside it.

State is data, never pickles: a directory can be continued by another machine or another version.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from rethink_ray.records.extension import extend, fingerprint_of, merge
from rethink_ray.records.lock import StudyLock
from rethink_ray.records.log import RecordLog
from rethink_ray.records.state import StudyState
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.errors import DataError, RecordError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.study import Study

FORMAT = 1
"""Version of the directory's layout and of its log."""


class StudyDirectory:
    """One study on disk: what was asked (``study``), of which data (``facts``), and its log."""

    def __init__(self, root: Path, resolved: Mapping[str, Any]) -> None:
        self.root = root
        self._resolved = dict(resolved)
        self.study = Study.model_validate_json(json.dumps(resolved["study"]))
        """As it was last continued."""
        self.facts = _facts_from(resolved["facts"])
        self.log = RecordLog(self.records_dir / "log.jsonl")

    @classmethod
    def create(
        cls, root: Path, study: Study, yaml_text: str, facts: DataFacts, versions: Mapping[str, str]
    ) -> Self:
        """A new study stands in ``root``, before its first result.

        Raises:
            RecordError: there is a study already, or other files.
        """
        root = root.absolute()
        if cls.holds_study(root):
            raise RecordError(explain(str(root), "must hold no study yet", "one", "Continue it."))
        if root.exists() and (not root.is_dir() or _strangers(root)):
            remedy = "Give an empty folder, or one that does not exist."
            raise RecordError(explain(str(root), "must be empty", "other files", remedy))
        for folder in (root, root / "records", root / "trials", root / "assets"):
            folder.mkdir(parents=True, exist_ok=True)
        write_atomically(root / "study.yaml", yaml_text)
        resolved = {
            "format": FORMAT,
            "fingerprint": fingerprint_of(study),
            "study": _tree(study),
            "facts": _facts_tree(facts),
            "versions": dict(versions),
        }
        write_atomically(root / "resolved.json", json.dumps(resolved, indent=1))
        return cls(root, resolved)

    @classmethod
    def open(cls, root: Path) -> Self:
        """The study that stands in ``root``.

        Raises:
            RecordError: there is none, or its ``resolved.json`` cannot be understood.
        """
        path = root.absolute() / "resolved.json"
        try:
            resolved = json.loads(path.read_text())
            if resolved["format"] != FORMAT:
                must = f"must have format {FORMAT}"
                raise RecordError(explain(str(path), must, resolved["format"]))
            return cls(root.absolute(), resolved)
        except FileNotFoundError:
            remedy = "Name the directory that 'run' wrote."
            came = "no resolved.json in it"
            raise RecordError(explain(str(root), "must hold a study", came, remedy)) from None
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(
                explain(str(path), "must be as this program wrote it", str(error)[:200])
            ) from None

    @staticmethod
    def holds_study(root: Path) -> bool:
        """Whether a study was started in ``root``."""
        return (root / "resolved.json").is_file()

    @property
    def records_dir(self) -> Path:
        """Folder of the log."""
        return self.root / "records"

    @property
    def assets_dir(self) -> Path:
        """Folder of all assets."""
        return self.root / "assets"

    @property
    def report_dir(self) -> Path:
        """Folder of the report."""
        return self.root / "report"

    @property
    def best_dir(self) -> Path:
        """Folder of exported configurations."""
        return self.root / "best"

    @property
    def mirror_path(self) -> Path:
        """The Optuna mirror."""
        return self.root / "optuna.journal"

    @property
    def stop_path(self) -> Path:
        """While this file exists, jobs write a checkpoint and end."""
        return self.root / "records" / "stop"

    @property
    def lock_path(self) -> Path:
        """Names the process that writes."""
        return self.root / "records" / "writer.lock"

    @property
    def versions(self) -> dict[str, str]:
        """What the study was started with: package -> version."""
        return dict(self._resolved["versions"])

    @property
    def fingerprint(self) -> str:
        """Hash of what this study can no longer change."""
        return str(self._resolved["fingerprint"])

    def trial_dir(self, trial_id: str) -> Path:
        """Checkpoints, effective configuration and failures of one trial."""
        return self.root / "trials" / trial_id

    def asset_dir(self, key: str) -> Path:
        """What one asset consists of."""
        return self.assets_dir / key

    def lock(self) -> StudyLock:
        """The right to write here, not yet acquired."""
        return StudyLock(self.lock_path)

    def load_state(self) -> StudyState:
        """Everything recorded so far."""
        return StudyState(self.log.read())

    def extend(
        self,
        *,
        trials: int | None = None,
        replicates: int | None = None,
        lengths: Sequence[float] | None = None,
    ) -> bool:
        """The study is this much larger from now on; True if that changed anything.

        Raises:
            SpecError: something would shrink.
        """
        return self._restate(
            extend(self.study, trials=trials, replicates=replicates, lengths=lengths)
        )

    def continue_with(self, study: Study, facts: DataFacts) -> bool:
        """A study file given again is this one, perhaps larger; True if that changed anything.

        Raises:
            SpecError: it is another study.
            DataError: the data are not those the study was started on.
        """
        merged = merge(self.study, study)
        if facts != self.facts:
            remedy = "Give a study on other data its own --out."
            raise DataError(
                explain("data", "must be what the study was started on", facts.fingerprint, remedy)
            )
        return self._restate(merged)

    def _restate(self, study: Study) -> bool:
        tree = _tree(study)
        changed = bool(tree != self._resolved["study"])
        if changed:
            self._resolved["study"] = tree
            write_atomically(self.root / "resolved.json", json.dumps(self._resolved, indent=1))
        self.study = study
        return changed


def _tree(study: Study) -> dict[str, Any]:
    """A study as JSON, without what was left to its default (``schedule`` reads that)."""
    tree: dict[str, Any] = study.model_dump(mode="json", exclude_unset=True)
    return tree


def _facts_tree(facts: DataFacts) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(facts)))  # type: ignore[no-any-return]


def _facts_from(tree: Mapping[str, Any]) -> DataFacts:
    return DataFacts(**{**tree, "categories": tuple(tree["categories"])})


def _strangers(root: Path) -> bool:
    """Whether files lie here that no interrupted ``create`` left."""
    ours = {"study.yaml", "records", "trials", "assets"}
    return any(p.name not in ours and not p.name.startswith(".") for p in root.iterdir())
