"""The data, files and code of a study that continues are those it was started with."""

from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.facts import DataFacts


def require_same_facts(recorded: DataFacts, measured: DataFacts) -> None:
    """``measured`` equals ``recorded``, whatever faults of the data either of them counts.

    Raises:
        DataError: the data, a file of weights or labels, or the code of a network is another one.
    """
    for path, digest in measured.files.items():
        if digest != recorded.files.get(path, digest):
            must = "must be the file that the study was started with"
            remedy = "Put it back, or give a study of the new file its own --out."
            raise DataError(explain(f"file {path}", must, "other content", remedy))
    for name, code in measured.backbones.items():
        if code != recorded.backbones.get(name, code):
            must = f"must be the code that the study was started with ({recorded.backbones[name]})"
            remedy = "Install that again, or give a study of the new code its own --out."
            raise DataError(explain(f"network {name}", must, code, remedy))
    if measured.without_faults != recorded.without_faults:
        must = "must be what the study was started on"
        remedy = "Give a study on other data its own --out."
        raise DataError(explain("data", must, measured.fingerprint, remedy))
