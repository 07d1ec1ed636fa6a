"""The study directory: the one place a study lives in, and the names of everything inside it.

State is data, never pickles: a directory can be continued by another machine or another version.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from rethink_ray.protocol.extension import extend, fingerprint_of, merge
from rethink_ray.records.lock import StoreLock, StudyLock, writing
from rethink_ray.records.log import RecordLog
from rethink_ray.records.segments import SegmentLog
from rethink_ray.records.state import StudyState
from rethink_ray.records.store import Store, is_uri, without_secrets
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.records.working_copy import WorkingCopy
from rethink_ray.spec.claim import claims_digest
from rethink_ray.spec.errors import DataError, RecordError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import FIRST_IDENTITY, IDENTITY
from rethink_ray.spec.study import Study

LOCK_NAME = "records/writer.lock"
STOP_NAME = "records/stop"
LOG_FOLDER = "records/log"
"""Where the log's segments lie, at a URI."""
FORMAT = 1
"""Version of the directory's layout and of its log."""


class StudyDirectory:
    """One study on disk: what was asked (``study``), of which data (``facts``), and its log."""

    def __init__(
        self, root: Path, resolved: Mapping[str, Any], copy: WorkingCopy | None = None
    ) -> None:
        self.root = root
        self._stop_spread = False
        self.copy = copy
        """What ``root`` is a copy of, if the study lives at a URI."""
        self._resolved = dict(resolved)
        self.study = Study.model_validate_json(json.dumps(resolved["study"]))
        """As it was last continued."""
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
        versions: Mapping[str, str],
    ) -> Self:
        """A new study stands at ``where``, a path or a URI, before its first result.

        Raises:
            RecordError: there is a study already, or other files; a URI that does not answer.
        """
        if cls.holds_study(where):
            raise RecordError(
                explain(_shown(where), "must hold no study yet", "one", "Continue it.")
            )
        copy = WorkingCopy(str(where)) if is_uri(where) else None
        root = copy.root if copy else Path(where).absolute()
        if _strangers(copy.store if copy else root):
            remedy = "Give an empty folder, or one that does not exist."
            raise RecordError(explain(_shown(where), "must be empty", "other files", remedy))
        resolved = {
            "format": FORMAT,
            "identity": IDENTITY,
            "fingerprint": fingerprint_of(study),
            "claims": claims_digest(study.claims),
            "study": _tree(study),
            "facts": _facts_tree(facts),
            "versions": dict(versions),
        }
        made = cls(root, resolved, copy)
        with _writable(made.shown), writing(made.lock()):
            if cls.holds_study(where):  # another process was quicker
                must = "must hold no study yet"
                raise RecordError(explain(_shown(where), must, "one", "Continue it."))
            for folder in (root / "trials", root / "assets"):
                folder.mkdir(exist_ok=True)
            made.write("study.yaml", yaml_text)
            made.write("resolved.json", json.dumps(resolved, indent=1))
        return made

    @classmethod
    def open(cls, where: Path | str) -> Self:
        """The study that stands at ``where``, a path or a URI.

        Raises:
            RecordError: there is none, or its ``resolved.json`` cannot be understood.
        """
        copy = WorkingCopy(str(where)) if is_uri(where) else None
        root = copy.root if copy else Path(where).absolute()
        place = f"{_shown(where)}/resolved.json"
        try:
            content = copy.store.read("resolved.json") if copy else _bytes_of(root)
            if content is None:
                remedy = "Name the directory that 'run' wrote."
                there = copy is not None or root.exists()
                came = "no resolved.json in it" if there else "a folder that does not exist"
                raise RecordError(explain(_shown(where), "must hold a study", came, remedy))
            resolved = json.loads(content)
            if resolved["format"] != FORMAT:
                raise RecordError(explain(place, f"must have format {FORMAT}", resolved["format"]))
            if copy:
                copy.pull("resolved.json", "study.yaml")
            return cls(root, resolved, copy)
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(
                explain(place, "must be as this program wrote it", str(error)[:200])
            ) from None

    @staticmethod
    def holds_study(where: Path | str) -> bool:
        """Whether a study was started at ``where``, a path or a URI."""
        if is_uri(where):
            return Store(str(where)).exists("resolved.json")
        return (Path(where) / "resolved.json").is_file()

    @property
    def shown(self) -> str:
        """Where the study lives, as people may read it."""
        return _shown(self.copy.uri if self.copy else self.root)

    def write(self, name: str, content: str | bytes) -> None:
        """A file of the study (``rungs.parquet``) holds ``content``, or what it held before.

        Raises:
            OSError: the disk refused.
        """
        write_atomically(self.root / name, content)
        if self.copy:
            self.copy.push(name)

    def fetch(self, *names: str) -> None:
        """Files and folders of a study at a URI are on this machine, as far as they exist."""
        if self.copy:
            self.copy.pull(*names)

    def spread_stop(self) -> None:
        """Jobs on machines that share no files with this one learn that the study stops."""
        if self.copy and not self._stop_spread:
            self._stop_spread = True
            self.copy.store.write(STOP_NAME, b"")

    def clear_stop(self) -> None:
        """Nobody asks the study to stop."""
        self.stop_path.unlink(missing_ok=True)
        if self.copy:
            self._stop_spread = False
            self.copy.store.delete(STOP_NAME)

    def publish(self) -> None:
        """What other machines read, mirror and report, is where the study lives."""
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
        return self.root / STOP_NAME

    @property
    def lock_path(self) -> Path:
        """Names the process that writes."""
        return self.root / LOCK_NAME

    @property
    def versions(self) -> dict[str, str]:
        """What the study was started with: package -> version."""
        return dict(self._resolved["versions"])

    @property
    def identity(self) -> int:
        """The number under which its ids were hashed."""
        return int(self._resolved.get("identity", FIRST_IDENTITY))

    def require_own_identity(self) -> None:
        """New records may stand beside those that are here.

        Raises:
            RecordError: these were made under another identity: they may be read, not continued.
        """
        if self.identity != IDENTITY:
            must = f"must hold records of identity {IDENTITY} to go on: numbers of another differ"
            remedy = (
                "Start the study anew with another --out, or continue it with the program version "
                "that made it. status, findings, report, export and compare still read it."
            )
            raise RecordError(explain(self.shown, must, self.identity, remedy))

    @property
    def fingerprint(self) -> str:
        """Hash of what this study can no longer change."""
        return str(self._resolved["fingerprint"])

    @property
    def claims_digest(self) -> str:
        """Hash of the claims declared before the first result; empty for studies without any."""
        return str(self._resolved.get("claims", ""))

    def trial_dir(self, trial_id: str) -> Path:
        """Checkpoints, effective configuration and failures of one trial."""
        return self.root / "trials" / trial_id

    def asset_dir(self, key: str) -> Path:
        """What one asset consists of."""
        return self.assets_dir / key

    def lock(self) -> StudyLock:
        """The right to write here, not yet acquired."""
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

    def extend(
        self,
        *,
        trials: int | None = None,
        replicates: int | None = None,
        searches: int | None = None,
        lengths: Sequence[float] | None = None,
    ) -> bool:
        """The study is this much larger from now on; True if that changed anything.

        Raises:
            SpecError: something would shrink.
            RecordError: its records are of another identity.
        """
        self.require_own_identity()
        return self._restate(
            extend(
                self.study,
                trials=trials,
                replicates=replicates,
                searches=searches,
                lengths=lengths,
            )
        )

    def continue_with(self, study: Study, facts: DataFacts) -> bool:
        """A study file given again is this one, perhaps larger; True if that changed anything.

        Raises:
            SpecError: it is another study.
            DataError: the data are not those the study was started on.
            RecordError: another process runs the study, and it would have to change; its records
                are of another identity.
        """
        self.require_own_identity()
        merged = merge(self.study, study)
        _require_same(self.facts, facts)
        if merged == self.study:
            return False
        with writing(self.lock()):
            return self._restate(merged)

    def _restate(self, study: Study) -> bool:
        tree = _tree(study)
        changed = bool(tree != self._resolved["study"])
        if changed:
            resolved = self._resolved | {"study": tree}
            with _writable(self.shown):
                self.write("resolved.json", json.dumps(resolved, indent=1))
            self._resolved = resolved
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


def _require_same(recorded: DataFacts, found: DataFacts) -> None:
    """The facts measured now are those that the study was started with."""
    for path, digest in found.files.items():
        if digest != recorded.files.get(path, digest):
            must = "must be the file that the study was started with"
            remedy = "Put it back, or give a study of the new file its own --out."
            raise DataError(explain(f"weights {path}", must, "other content", remedy))
    for name, code in found.backbones.items():
        if code != recorded.backbones.get(name, code):
            must = f"must be the code that the study was started with ({recorded.backbones[name]})"
            remedy = "Install that again, or give a study of the new code its own --out."
            raise DataError(explain(f"detector.backbone {name}", must, code, remedy))
    if found != recorded:
        must = "must be what the study was started on"
        remedy = "Give a study on other data its own --out."
        raise DataError(explain("data", must, found.fingerprint, remedy))


def _strangers(where: Path | Store) -> bool:
    """Whether files lie here that no interrupted ``create`` left."""
    ours = {"study.yaml", "records", "trials", "assets"}
    if isinstance(where, Store):
        names = {name.partition("/")[0] for name in where.list("")}
    else:
        if where.exists() and not where.is_dir():
            return True
        names = {path.name for path in where.iterdir()} if where.exists() else set()
    return any(name not in ours and not name.startswith(".") for name in names)


def _num_rows(table: Path) -> int:
    """Of a Parquet file; 0 where there is none, or none that can be read."""
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(table).num_rows)
    except (OSError, ValueError):
        return 0


def _bytes_of(root: Path) -> bytes | None:
    try:
        return (root / "resolved.json").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        path = root / "resolved.json"
        raise RecordError(explain(str(path), "must be readable", error.strerror)) from None


@contextmanager
def _writable(place: str) -> Iterator[None]:
    """What the disk refuses inside the block is said in the house form."""
    try:
        yield
    except OSError as error:
        remedy = "Free some space, or choose another --out."
        raise RecordError(explain(place, "must be writable", str(error), remedy)) from None


def _shown(where: Path | str) -> str:
    return without_secrets(str(where)) if is_uri(where) else str(Path(where).absolute())
