"""What must hold inside a study's directory: bad arms ended as results, files can be trusted."""

from pathlib import Path

from faults.account import Wound
from faults.study import BAD_ARMS, results, results_of_log
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.types import JobStarted, TrialEnded
from rethink_ray.spec.resolve import cells_of

MUST_NAME = ("batch_size", "min_side_px")
"""What the reason of an out-of-memory must suggest to lower."""


def bad_arms(case: str, root: Path) -> list[Wound]:
    """One wound per trial of the arms that cannot work; blamed if it was retried or unexplained."""
    directory = StudyDirectory.open(root)
    events = directory.log.read()
    state = directory.load_state()
    found = []
    for cell in cells_of(directory.study):
        if cell.arm not in BAD_ARMS:
            continue
        kind, outcome = ("nan", "diverged") if cell.arm == "wild" else ("oom", "infeasible")
        for _, member in state.members(cell, "search"):
            wound = Wound(kind=kind, told=cell.name, case=case, before={}, updates=0)
            found.append(wound)
            own = [
                event
                for event in events
                if isinstance(event, JobStarted | TrialEnded) and event.trial_id == member.trial_id
            ]
            ends = [n for n, event in enumerate(own) if isinstance(event, TrialEnded)]
            ended = state.ended.get(member.trial_id)
            if ended is None or ended.outcome != outcome:
                wound.blame(f"{member.trial_id} is not {outcome}")
            elif ends != [len(own) - 1]:
                wound.blame(f"{member.trial_id} ran again after it had {outcome}")
            elif kind == "oom" and not all(word in ended.reason for word in MUST_NAME):
                wound.blame(f"no batch size and image size in: {ended.reason}")
    return found


def spoilt_files(root: Path, *, done: bool = False) -> list[str]:
    """What readers of the directory would get wrong; of a finished study, also what it lacks."""
    problems = []
    if results(root) != results_of_log(root):
        problems.append("the views say something else than the log")
    if done:
        problems += _lacking(root)
    return problems


def _lacking(root: Path) -> list[str]:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    names = ("trials.parquet", "rungs.parquet")
    problems = [f"{name} is not there" for name in names if not (root / name).exists()]
    studies = JournalStorage(JournalFileBackend(str(root / "optuna.journal"))).get_all_studies()
    if len(studies) != len(cells_of(StudyDirectory.open(root).study)):
        problems.append(f"optuna.journal holds {len(studies)} studies")
    return problems
