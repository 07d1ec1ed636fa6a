"""The study directory: the one folder or URI that holds a study, and the names of its files.

Everything in it is data, never pickles: another machine or another version can continue it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from rethink_ray.records.lock import StoreLock, StudyLock, writing
from rethink_ray.records.log import RecordLog
from rethink_ray.records.segments import SegmentLog
from rethink_ray.records.state import StudyState
from rethink_ray.records.store import Store, is_uri, without_secrets
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.records.working_copy import WorkingCopy
from rethink_ray.spec.claim import claims_digest
from rethink_ray.spec.edits import select_declared_claims
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import FIRST_IDENTITY, IDENTITY
from rethink_ray.spec.older_records import fill_first_study, with_one_round
from rethink_ray.spec.resolve import LEAST_OF_A_ROUND
from rethink_ray.spec.study import Study

LOCK_NAME = "records/writer.lock"
STOP_NAME = "records/stop"
LOG_FOLDER = "records/log"
"""Folder of the log's segments, for a study at a URI."""
FORMAT = 1
"""Version of the directory's layout and of its log."""


class StudyDirectory:
    """One study on disk: the study, the facts of its data, and the log of its events."""

    def __init__(
        self, root: Path, resolved: Mapping[str, Any], copy: WorkingCopy | None = None
    ) -> None:
        self.root = root
        self._has_spread_stop = False
        self.copy = copy
        """Keeps ``root`` and the study's URI alike; None for a study on this machine's disk."""
        self._resolved = dict(resolved)
        self.study = _read_study(resolved, self.identity)
        """The study as it was last continued."""
        self.facts = _facts_from(resolved["facts"])
        path = self.records_dir / "log.jsonl"
        self.log = RecordLog(path) if copy is None else SegmentLog(path, copy.store, LOG_FOLDER)

    @classmethod
    def create(
        cls,
        where: Path | str,
        study: Study,
        yaml_text: str,
        facts: DataFacts,
        *,
        fingerprint: str,
        versions: Mapping[str, str],
    ) -> Self:
        """A new study is at ``where``, a path or a URI, before its first result.

        Args:
            where: path or URI.
            study: the study.
            yaml_text: its file, kept as ``study.yaml``.
            facts: of its data.
            fingerprint: hash of everything that a started study can no longer change.
            versions: package -> version, of this machine.

        Raises:
            RecordError: there is a study already, or other files; a URI that does not answer.
        """
        _require_no_study(where)
        copy = WorkingCopy(str(where)) if is_uri(where) else None
        root = copy.root if copy else Path(where).absolute()
        if _has_other_files(copy.store if copy else root):
            remedy = "Give an empty folder, or one that does not exist."
            raise RecordError(explain(_readable(where), "must be empty", "other files", remedy))
        resolved = {
            "format": FORMAT,
            "identity": IDENTITY,
            "round": LEAST_OF_A_ROUND,
            "fingerprint": fingerprint,
            "claims": claims_digest(select_declared_claims(study)),
            "study": _tree_of(study),
            "facts": _tree_of_facts(facts),
            "versions": dict(versions),
        }
        directory = cls(root, resolved, copy)
        with _refusals_named(directory.address), writing(directory.lock()):
            _require_no_study(where)  # another process may have been quicker
            for folder in (root / "trials", root / "assets"):
                folder.mkdir(exist_ok=True)
            directory.write("study.yaml", yaml_text)
            directory.write("resolved.json", json.dumps(resolved, indent=1))
        return directory

    @classmethod
    def open(cls, where: Path | str) -> Self:
        """The study at ``where``, a path or a URI.

        Raises:
            RecordError: there is none, or its ``resolved.json`` cannot be understood.
        """
        copy = WorkingCopy(str(where)) if is_uri(where) else None
        root = copy.root if copy else Path(where).absolute()
        file = f"{_readable(where)}/resolved.json"
        content = copy.store.read("resolved.json") if copy else _read_if_there(root)
        if content is None:
            is_there = copy is not None or root.exists()
            got = "no resolved.json in it" if is_there else "a folder that does not exist"
            remedy = "Name the directory that 'run' wrote."
            raise RecordError(explain(_readable(where), "must hold a study", got, remedy))
        try:
            resolved = json.loads(content)
            if resolved["format"] != FORMAT:
                raise RecordError(explain(file, f"must have format {FORMAT}", resolved["format"]))
            if copy:
                copy.pull("resolved.json", "study.yaml")
            return cls(root, resolved, copy)
        except (ValueError, KeyError, TypeError) as error:
            must = "must be as this program wrote it"
            remedy = "Restore the file from a copy of the study directory."
            raise RecordError(explain(file, must, str(error)[:200], remedy)) from None

    @staticmethod
    def holds_study(where: Path | str) -> bool:
        """Whether a study was started at ``where``, a path or a URI."""
        if is_uri(where):
            return Store(str(where)).exists("resolved.json")
        return (Path(where) / "resolved.json").is_file()

    @property
    def address(self) -> str:
        """The study's path or URI, without passwords."""
        return _readable(self.copy.uri if self.copy else self.root)

    def write(self, name: str, content: str | bytes) -> None:
        """A file of the study (``rungs.parquet``) holds ``content``, here and at the study's URI.

        A write that fails leaves the file as it was.

        Raises:
            OSError: the disk refused.
        """
        write_atomically(self.root / name, content)
        if self.copy:
            self.copy.push(name)

    def fetch(self, *names: str) -> None:
        """Files and folders of a study at a URI are on this machine, if they exist."""
        if self.copy:
            self.copy.pull(*names)

    def spread_stop(self) -> None:
        """Jobs on machines that share no files with this one can read that the study stops."""
        if self.copy and not self._has_spread_stop:
            self._has_spread_stop = True
            self.copy.store.write(STOP_NAME, b"")

    def clear_stop(self) -> None:
        """No request to stop is left from an earlier run."""
        self.stop_path.unlink(missing_ok=True)
        if self.copy:
            self._has_spread_stop = False
            self.copy.store.delete(STOP_NAME)

    def publish(self) -> None:
        """Journal, exported configurations and report are at the study's URI too."""
        if self.copy:
            self.copy.push("optuna.journal", "best", "report")

    @property
    def records_dir(self) -> Path:
        """Folder of the log."""
        return self.root / "records"

    @property
    def assets_dir(self) -> Path:
        """Folder of all assets."""
        return self.root / "assets"

    @property
    def report_page(self) -> Path:
        """The report as one page, in a folder with its figures."""
        return self.root / "report" / "report.html"

    @property
    def best_dir(self) -> Path:
        """Folder of exported configurations."""
        return self.root / "best"

    @property
    def optuna_journal_path(self) -> Path:
        """The search as Optuna studies, for ``optuna-dashboard``."""
        return self.root / "optuna.journal"

    @property
    def stop_path(self) -> Path:
        """While this file exists, jobs write a checkpoint and end."""
        return self.root / STOP_NAME

    @property
    def lock_path(self) -> Path:
        """The file that names the study's one writer."""
        return self.root / LOCK_NAME

    @property
    def versions(self) -> dict[str, str]:
        """Package -> version, as the study was started."""
        return dict(self._resolved["versions"])

    @property
    def identity(self) -> int:
        """The identity number that its ids were hashed under."""
        return int(self._resolved.get("identity", FIRST_IDENTITY))

    def require_own_identity(self) -> None:
        """The study's records have the identity that new records would have.

        Raises:
            RecordError: they have another; they may be read, not continued.
        """
        if self.identity != IDENTITY:
            must = f"must hold records of identity {IDENTITY} to go on: numbers of another differ"
            remedy = (
                "Start the study anew with another --out, or continue it with the program version "
                "that made it. status, findings, report, export and compare still read it."
            )
            raise RecordError(explain(self.address, must, self.identity, remedy))

    @property
    def fingerprint(self) -> str:
        """Hash of everything that this study can no longer change."""
        return str(self._resolved["fingerprint"])

    @property
    def claims_digest(self) -> str:
        """Hash of the claims declared before the first result; empty for studies without any."""
        return str(self._resolved.get("claims", ""))

    def trial_dir(self, trial_id: str) -> Path:
        """Checkpoints, effective configuration and failures of one trial."""
        return self.root / "trials" / trial_id

    def asset_dir(self, key: str) -> Path:
        """The files of one asset."""
        return self.assets_dir / key

    def lock(self) -> StudyLock:
        """The study's lock, not yet acquired."""
        return StoreLock(self.copy, LOCK_NAME) if self.copy else StudyLock(self.lock_path)

    def load_state(self) -> StudyState:
        """Everything recorded so far.

        Raises:
            RecordError: the log is damaged, or gone from a study whose tables tell of trials.
        """
        log = self.records_dir / "log.jsonl"
        if self.copy is None and not log.exists() and _num_rows(self.root / "trials.parquet"):
            must = "must hold what was recorded: trials.parquet tells of trials"
            remedy = "Copy the folder records/ along with the rest of the study."
            raise RecordError(explain(str(log), must, "no such file", remedy))
        return StudyState(self.log.read())

    def reread(self) -> None:
        """``study`` is as ``resolved.json`` holds it now: another process may have let it grow.

        Raises:
            RecordError: the file is gone, or cannot be understood.
        """
        now = type(self).open(self.copy.uri if self.copy else self.root)
        self._resolved, self.study, self.facts = now._resolved, now.study, now.facts

    def restate(self, study: Study) -> bool:
        """``resolved.json`` holds ``study``, as it was continued; True if that changed anything.

        The caller holds the lock, and knows that the study may become this one.

        Raises:
            RecordError: the disk refused.
        """
        return self._rewrite(study, {"study": _tree_of(study)})

    def restate_with(self, study: Study, facts: DataFacts, fingerprint: str | None) -> bool:
        """The same of a study with more cells, and with the facts of what they need.

        All of it is one file: after a crash the study is as it was, or as it is to be.

        Args:
            study: with the additions.
            facts: of its data.
            fingerprint: its new one if it has no result yet, so that its claims are declared now;
                None: it keeps the one it began with.

        Raises:
            RecordError: the disk refused.
        """
        changes: dict[str, Any] = {"study": _tree_of(study), "facts": _tree_of_facts(facts)}
        if fingerprint is not None:
            claims = claims_digest(select_declared_claims(study))
            changes |= {"fingerprint": fingerprint, "claims": claims}
        is_changed = self._rewrite(study, changes)
        self.facts = facts
        return is_changed

    def _rewrite(self, study: Study, changes: Mapping[str, Any]) -> bool:
        is_changed = any(self._resolved.get(key) != value for key, value in changes.items())
        if is_changed:
            resolved = self._resolved | dict(changes)
            with _refusals_named(self.address):
                self.write("resolved.json", json.dumps(resolved, indent=1))
            self._resolved = resolved
        self.study = study
        return is_changed


def _tree_of(study: Study) -> dict[str, Any]:
    """A study as JSON; keys left to their default are absent, because ``schedule`` reads that."""
    tree: dict[str, Any] = study.model_dump(mode="json", exclude_unset=True)
    return tree


def _read_study(resolved: Mapping[str, Any], identity: int) -> Study:
    """The study of a record, with the defaults that it was started with."""
    tree = resolved["study"]
    recorded = fill_first_study(tree) if identity == FIRST_IDENTITY else tree
    study = Study.model_validate_json(json.dumps(recorded))
    is_older = "round" not in resolved and study.budget.trials >= 2 * LEAST_OF_A_ROUND
    return with_one_round(study) if is_older else study


def _tree_of_facts(facts: DataFacts) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(facts)))  # type: ignore[no-any-return]


def _facts_from(tree: Mapping[str, Any]) -> DataFacts:
    return TypeAdapter(DataFacts).validate_python(tree)


def _require_no_study(where: Path | str) -> None:
    if StudyDirectory.holds_study(where):
        must = "must hold no study yet"
        raise RecordError(explain(_readable(where), must, "one", "Continue it."))


def _has_other_files(where: Path | Store) -> bool:
    """Whether a folder or store holds files that no interrupted ``create`` left."""
    ours = {"study.yaml", "records", "trials", "assets"}
    if isinstance(where, Store):
        names = {name.partition("/")[0] for name in where.list("")}
    else:
        if where.exists() and not where.is_dir():
            return True
        names = {path.name for path in where.iterdir()} if where.exists() else set()
    return any(name not in ours and not name.startswith(".") for name in names)


def _num_rows(table: Path) -> int:
    """Rows of a Parquet file; 0 if it is missing or cannot be read."""
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(table).num_rows)
    except (OSError, ValueError):
        return 0


def _read_if_there(root: Path) -> bytes | None:
    try:
        return (root / "resolved.json").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        path = root / "resolved.json"
        raise RecordError(explain(str(path), "must be readable", error.strerror)) from None


@contextmanager
def _refusals_named(where: str) -> Iterator[None]:
    """An error of the disk inside the block becomes a ``RecordError`` that names ``where``."""
    try:
        yield
    except OSError as error:
        remedy = "Free some space, or choose another --out."
        raise RecordError(explain(where, "must be writable", str(error), remedy)) from None


def _readable(where: Path | str) -> str:
    return without_secrets(str(where)) if is_uri(where) else str(Path(where).absolute())
