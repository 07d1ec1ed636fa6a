"""The studies that ship with the program: ``search_spaces/``, inside the package or beside it."""

from pathlib import Path


def shipped_studies() -> dict[str, Path]:
    """Stem -> file, sorted; empty if the program was installed without them."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "search_spaces", package.parent / "search_spaces"):
        studies = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
        if studies:
            return studies
    return {}
