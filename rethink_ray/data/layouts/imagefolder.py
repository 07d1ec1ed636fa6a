"""Recognises Hugging Face's ``imagefolder``: ``metadata.jsonl`` beside the pictures."""

from rethink_ray.data.layouts.recognised import RecognisedData
from rethink_ray.data.layouts.tree import FolderTree, name_split
from rethink_ray.data.sources.imagefolder import METADATA, is_metadata
from rethink_ray.spec.errors import DataError, explain

IMAGEFOLDER_FORM = "Hugging Face imagefolder (metadata.jsonl with file_name and objects)"


def recognise_imagefolder(tree: FolderTree) -> RecognisedData | None:
    """Returns an ``imagefolder``; ``None`` if no folder has a ``metadata.jsonl`` with boxes.

    Raises:
        DataError: two files are of one split.
    """
    folders = [
        folder
        for folder in tree.list_folders(".jsonl")
        if METADATA in tree.list_files(folder, ".jsonl")
        and is_metadata(tree.path_of(folder, METADATA))
    ]
    if not folders:
        return None
    named = [name_split(folder) if len(folders) > 1 else "train" for folder in folders]
    if "train" not in named or "" in named or len({*named}) < len(named):
        must = "must have one metadata.jsonl for each of train, validation and test"
        remedy = "Put each into a folder of its split's name, or look at one folder alone."
        raise DataError(explain(str(tree.root), must, ", ".join(folders), remedy))
    by_split = dict(zip(named, folders, strict=True))
    dataset = {
        split: {
            "images": by_split[split],
            "annotations": METADATA if by_split[split] == "." else f"{by_split[split]}/{METADATA}",
        }
        for split in ("train", "val", "test")
        if split in by_split
    }
    return RecognisedData(
        format="Hugging Face imagefolder (metadata.jsonl)",
        data={"dataset": dataset, "root": str(tree.root)},
        splits=tuple(dataset),
        notes=() if len(dataset) > 1 else ("one metadata.jsonl: one split, train",),
    )
