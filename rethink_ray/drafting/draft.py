"""From a folder of labelled pictures to a study file that fits the hours of a machine."""

import re
from collections.abc import Callable, Mapping
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
from rethink_ray.drafting.folder import SeenFolder, look_at_folder
from rethink_ray.drafting.machine import Machine, find_machine
from rethink_ray.drafting.study_text import StudyParts, build_tree, write_text
from rethink_ray.drafting.timed_arms import ArmPaces, read_arm_paces, time_arms
from rethink_ray.drafting.weights import FoundWeights, find_weights
from rethink_ray.drafting.words import (
    comment_keys,
    describe_design,
    describe_pictures,
    describe_starts,
    pose_question,
)
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.search.design import REGIME_NAMES, Design, list_shares
from rethink_ray.search.paces import write_paces
from rethink_ray.session import gather_study_facts
from rethink_ray.spec.check import check_study
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.load import load_study, validate
from rethink_ray.spec.study import Study

DEFAULT_HOURS = 8.0
"""An evening and a night."""
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRequest:
    """What a study file is asked for; everything but the folder may be left out."""

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

    Nothing is asked and nothing is downloaded. The file is read back as ``plan`` reads it.

    Args:
        request: the folder, the hours, the machine.
        say: called with each line as soon as it is known.

    Raises:
        SpecError: the file exists already, a file of weights or paces is none, or the hours are too
            few; the message says what to do.
        DataError: the folder has no known format, or its data cannot be used.
    """
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        say(line)

    path = _choose_path(request)
    seen = look_at_folder(request.folder)
    sheet = path.with_name(f"{path.stem}_pictures.jpg")
    draw_contact_sheet(open_split(seen.spec, "train"), sheet)
    for label, sentence in (*describe_pictures(seen), ("Look", f"{sheet}")):
        tell(f"{label}: {sentence}")
    machine = find_machine(request.gpus, request.nodes)
    draft = _Draft(request=request, path=path, seen=seen, machine=machine)
    for label, sentence in describe_starts(draft.contenders, draft.found):
        tell(f"{label}: {sentence}")
    fitted, text = draft.write()
    for label, sentence in fitted.header:
        tell(f"{label}: {sentence}")
    write_atomically(path, text)
    load_study(path)
    for line in draft.next_lines():
        tell(line)
    return DraftedStudy(path=path, contact_sheet=sheet, lines=tuple(lines))
