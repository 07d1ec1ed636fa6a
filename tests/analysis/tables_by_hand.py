"""Tables of published numbers, written by hand: only what a test cares about is said."""

from collections.abc import Mapping
from pathlib import Path

HEADER = (
    "source,table,detector,backbone,norm,init,frozen,augment,method,regime,images,schedule,"
    "metric,value,split,batch,seeds,tuning,note"
)
PLAIN = {
    "source": "ours",
    "table": "1",
    "detector": "retinanet",
    "backbone": "resnet50",
    "norm": "gn",
    "init": "random",
    "frozen": "none",
    "augment": "flip",
    "method": "supervised",
    "regime": "full",
    "images": "1000",
    "schedule": "6x",
    "metric": "ap",
    "value": "30.0",
    "split": "val",
    "batch": "16",
    "seeds": "1",
    "tuning": "per cell",
    "note": "",
}


def write_table(path: Path, *rows: Mapping[str, object], header: str = HEADER) -> Path:
    """A CSV file with one line per row, the header being line 1."""
    columns = header.split(",")
    lines = [header]
    for row in rows:
        cells = {**PLAIN, **{k: str(v) for k, v in row.items()}}
        lines.append(",".join(f'"{cells.get(c, "")}"' for c in columns))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
