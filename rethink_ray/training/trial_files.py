"""A trial's folder: trunk files, a branch file, and finished rungs that may not be recorded yet.

Every file is written whole or not at all. A damaged file counts as absent: the run then goes on
from the file before it, or starts again.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rethink_ray.records.types import RungDone
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.hashing import sha256_of
from rethink_ray.training.checkpoint import Damaged, load_checkpoint, save_checkpoint, write_json

TRUNKS_KEPT = 2
"""The newest, and the one before it in case the newest is damaged."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolders:
    """Where one run reads and writes."""

    trial: Path
    """Checkpoints and finished rungs. The run goes on from the files that lie here."""
    assets: Path
    """One folder for each asset."""
    models: Path | None = None
    """Keeps each finished rung's weights as ``<length>x.pt``; ``None``: they are not kept."""
    detections: Path | None = None
    """Keeps each finished rung's detections in the report split; ``None``: they are not kept."""


def model_path(models: Path, length: float) -> Path:
    """Where the weights of a rung of this length are kept."""
    return models / f"{length:g}x.pt"


class TrialFiles:
    """The files of one trial. A folder that holds another trial's files is refused."""

    def __init__(self, directory: Path, trial_id: str) -> None:
        self.directory = directory
        self.trial_id = trial_id
        directory.mkdir(parents=True, exist_ok=True)
        self._rungs_path = directory / "rungs.json"
        self._branch_path = directory / "branch.pt"
        self._rungs = self._read_rungs()

    def save_trunk(self, content: dict[str, Any]) -> None:
        """The trunk before update ``content["step"]`` has a file; older files are deleted."""
        path = self.directory / f"trunk-{content['step']:09d}.pt"
        save_checkpoint(path, {"trial_id": self.trial_id, **content})
        for old in self._trunk_paths()[TRUNKS_KEPT:]:
            old.unlink(missing_ok=True)

    def trunk_at_most(self, step: int) -> dict[str, Any] | None:
        """Content of the newest whole trunk file at or before update ``step``."""
        for path in self._trunk_paths():
            if int(path.stem.removeprefix("trunk-")) <= step:
                content = self._load(path)
                if content is not None:
                    return content
        return None

    def save_branch(self, content: dict[str, Any]) -> None:
        """The unfinished branch of ``content["length"]`` has a file; an older one is replaced."""
        save_checkpoint(self._branch_path, {"trial_id": self.trial_id, **content})

    def branch(self, length: float) -> dict[str, Any] | None:
        """The unfinished branch of this length, if one was kept."""
        if not self._branch_path.exists():
            return None
        content = self._load(self._branch_path)
        return content if content is not None and content["length"] == length else None

    def rung(self, length: float) -> RungDone | None:
        """The finished rung of this length, recorded or not."""
        return self._rungs.get(length)

    def add_rung(self, rung: RungDone) -> None:
        """The finished rung is on the disk, and its branch file is deleted."""
        self._rungs[rung.length] = rung
        rungs = [asdict(self._rungs[length]) for length in sorted(self._rungs)]
        write_json(
            self._rungs_path,
            {"trial_id": self.trial_id, "rungs": rungs, "sha256": _digest(rungs)},
        )
        self._branch_path.unlink(missing_ok=True)

    def _trunk_paths(self) -> list[Path]:
        return sorted(self.directory.glob("trunk-*.pt"), reverse=True)

    def _load(self, path: Path) -> dict[str, Any] | None:
        try:
            content = load_checkpoint(path)
        except Damaged as error:
            _log.warning("%s The run goes on from an older one.", error)
            return None
        self._require_this_trial(path, content.get("trial_id"))
        return content

    def _read_rungs(self) -> dict[float, RungDone]:
        if not self._rungs_path.exists():
            return {}
        try:
            content = json.loads(self._rungs_path.read_text())
            rungs = [RungDone(**rung) for rung in content["rungs"]]
            if content.get("sha256", _digest(content["rungs"])) != _digest(content["rungs"]):
                raise ValueError("it does not match its checksum")
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s is damaged (%s): its rungs run again.", self._rungs_path, error)
            return {}
        self._require_this_trial(self._rungs_path, content["trial_id"])
        return {rung.length: rung for rung in rungs}

    def _require_this_trial(self, path: Path, trial_id: Any) -> None:
        if trial_id != self.trial_id:
            raise RecordError(
                explain(
                    str(path),
                    f"must belong to trial {self.trial_id}",
                    trial_id,
                    "Choose another folder, or remove this one.",
                )
            )


def _digest(rungs: list[dict[str, Any]]) -> str:
    """Checksum of the rungs as JSON. Files of the first version have none."""
    return sha256_of(json.dumps(rungs, sort_keys=True))
