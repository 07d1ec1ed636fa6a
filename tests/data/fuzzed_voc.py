"""VOC folders that mean the same as a good one, or that are damaged somewhere."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STEMS = ("a", "b (1)", "c")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass
class Picture:
    """One XML file, before it is written; values are texts, ``None``: the element is absent."""

    fields: dict[str, Any]
    objects: list[dict[str, Any]]
    codec: str = "utf-8"
    declared: str | None = None
    """The encoding that the file states; ``None``: as ``codec``; empty: no declaration."""
    namespace: str = ""
    head: str = ""
    """Before the root: a DOCTYPE."""
    root: str = "annotation"
    cut: float = 1.0
    tail: bytes = b""

    def content(self) -> bytes:
        """The bytes of the file."""
        inner = _elements(self.fields) + "".join(
            f"<object>{_elements(one)}</object>" for one in self.objects
        )
        declared = self.codec if self.declared is None else self.declared
        first = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
        text = f"{first}{self.head}<{self.root}{self.namespace}>{inner}</{self.root}>"
        whole = text.encode(self.codec, errors="xmlcharrefreplace")
        return whole[: int(self.cut * len(whole))] + self.tail


def _elements(values: Mapping[str, Any]) -> str:
    return "".join(
        f"<{tag}>{_elements(value) if isinstance(value, dict) else value}</{tag}>"
        for tag, value in values.items()
        if value is not None
    )


@dataclass
class Folder:
    """A VOC folder, before it is written."""

    pictures: dict[str, Picture]
    lines: list[str] = field(default_factory=lambda: list(STEMS))
    newline: str = "\n"
    codec: str = "utf-8"
    raw_list: bytes | None = None

    def write(self, root: Path) -> None:
        """Writes XML files and the list of train; pictures stay."""
        for stem, picture in self.pictures.items():
            (root / "Annotations" / f"{stem}.xml").write_bytes(picture.content())
        text = self.newline.join(self.lines) + self.newline
        content = text.encode(self.codec) if self.raw_list is None else self.raw_list
        (root / "ImageSets/Main/train.txt").write_bytes(content)


def good_folder() -> Folder:
    """Three pictures of 20 x 10 with two objects each."""
    boxes = [[(3, 3, 8, 8), (5, 3, 6, 6)], [(2, 2, 6, 6), (10, 4, 17, 7)]]
    boxes += [[(4, 2, 10, 9), (11, 3, 16, 8)]]
    return Folder(
        pictures={
            stem: Picture(
                fields={
                    "folder": "JPEGImages",
                    "filename": f"{stem}.png",
                    "size": {"width": "20", "height": "10", "depth": "3"},
                },
                objects=[
                    {
                        "name": name,
                        "difficult": "0",
                        "bndbox": dict(zip(CORNERS, map(str, box), strict=True)),
                    }
                    for name, box in zip(("cat", "dog"), boxes_here, strict=True)
                ],
            )
            for stem, boxes_here in zip(STEMS, boxes, strict=True)
        }
    )


@dataclass(frozen=True)
class FolderChange:
    """One change of a folder; ``repr`` of it says which."""

    label: str
    apply: Callable[[Folder], None]

    def __repr__(self) -> str:
        return self.label


def _set(stem: str, key: str, value: Any) -> FolderChange:
    def apply(folder: Folder) -> None:
        setattr(folder.pictures[stem], key, value)

    return FolderChange(f"{stem}: {key} = {value!r:.40}", apply)


def _put(stem: str, path: tuple[Any, ...], value: Any) -> FolderChange:
    def apply(folder: Folder) -> None:
        inner: Any = vars(folder.pictures[stem])
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = copy.deepcopy(value)

    return FolderChange(f"{stem}: {path} = {value!r:.40}", apply)


def _list(**changes: Any) -> FolderChange:
    def apply(folder: Folder) -> None:
        for key, value in changes.items():
            setattr(folder, key, copy.deepcopy(value))  # a later change may alter it

    return FolderChange(f"list: {changes}", apply)


def _line(number: int, text: str) -> FolderChange:
    def apply(folder: Folder) -> None:
        folder.lines[number] = text

    return FolderChange(f"list: line {number} = {text!r}", apply)


def _meant() -> Iterator[FolderChange]:
    for stem, picture in good_folder().pictures.items():
        for number, one in enumerate(picture.objects):
            here = ("objects", number)
            for key, text in one["bndbox"].items():
                for value in (f" {text} ", f"{text}.0", f"{text}.00", f"+{text}", f"{text}e0"):
                    yield _put(stem, (*here, "bndbox", key), value)
            for value in ("", None, "false", " 0 ", "0.0", "no"):
                yield _put(stem, (*here, "difficult"), value)
            yield _put(stem, (*here, "pose"), "Unspecified")
            yield _put(stem, (*here, "part"), {"name": "head", "bndbox": {"xmin": "1"}})
        for value in ("0", "", None, "20.0"):
            yield _put(stem, ("fields", "size", "width"), value)
        yield _put(stem, ("fields", "size"), None)
        yield _put(stem, ("fields", "filename"), None)
        yield _put(stem, ("fields", "folder"), "\u56fe\u7247")
        yield _set(stem, "namespace", ' xmlns="http://example.org/voc"')
        for codec in ("gb2312", "gbk", "gb18030", "big5", "shift_jis", "utf-16", "utf-8-sig"):
            yield _set(stem, "codec", codec)
        for codec in ("iso-8859-1", "cp1252", "ascii", "latin-1", "euc-kr", "utf-32"):
            yield _set(stem, "codec", codec) if codec != "utf-32" else _set(stem, "declared", "")
        for declared in ("ANSI", "GBK", "UTF-8", "utf8", "nonsense", "hex", "GB2312"):
            yield _set(stem, "declared", declared)
    yield from (_list(newline="\r\n"), _list(newline="\n\n"), _list(newline="  \n"))
    yield from (_list(codec="utf-8-sig"), _list(codec="utf-16"), _list(newline="\r"))
    for number, stem in enumerate(STEMS):
        for text in (f"{stem} 1", f"{stem}  -1", f"{stem}\t0", f" {stem}", f"{stem}.png"):
            yield _line(number, text)
        yield _line(number, f"{stem}.xml")
    yield _list(lines=[*STEMS, "a", "c"])


def _damaged() -> Iterator[FolderChange]:
    no_numbers = (None, "", "abc", "nan", "inf", "1,5", "0x10", "1_0", "\uff11", "1 2", "1e999")
    for stem in STEMS:
        for number in range(2):
            here = ("objects", number)
            for key in CORNERS:
                yield from (_put(stem, (*here, "bndbox", key), v) for v in (*no_numbers, "1e300"))
            yield from (_put(stem, (*here, "bndbox"), v) for v in (None, "1 2 3 4", {}))
            yield from (_put(stem, (*here, "difficult"), v) for v in ("abc", "2", "-1", "0.5"))
            yield from (_put(stem, (*here, "name"), v) for v in (None, "", " "))
            yield _put(stem, (*here, "robndbox"), {"cx": "3"})
            yield _put(stem, (*here, "bndbox", "xmin"), "19")
        for value in ("abc", "-20", "20.5", "1e999", "9" * 5000):
            yield _put(stem, ("fields", "size", "width"), value)
        yield from (_set(stem, "cut", v) for v in (0.0, 0.01, 0.3, 0.6, 0.9, 0.99))
        yield from (_set(stem, "tail", v) for v in (b"<", b"\0", b"</annotation>", b"text"))
        yield from (_set(stem, "head", v) for v in (LAUGHS, "<!DOCTYPE annotation>", OUTSIDE))
        yield from (_set(stem, "root", v) for v in ("html", "Annotation", "a b", "1"))
        yield from (_set(stem, "declared", v) for v in ("utf-16", "utf-7", "punycode", "idna"))
        yield from (_set(stem, "codec", v) for v in ("utf-32", "cp037", "utf-16-le"))
        yield _put(stem, ("fields", "filename"), "elsewhere.jpg")
        yield _put(stem, ("fields", "filename"), "\ud800")
        yield _put(stem, ("objects", 0, "name"), "&cat;")
        yield _put(stem, ("objects", 0, "name"), "&#xD800;")
        yield _put(stem, ("objects", 0, "name"), "\x01")
        yield _put(stem, ("objects", 0, "deep"), "<d>" * 3000 + "</d>" * 3000)
    for number in range(3):
        for text in ("gone", "a\0", "x" * 300, "../a", "a/b", ".", "..", "1", "-1", "a b c"):
            yield _line(number, text)
    yield from (_list(lines=[]), _list(lines=["0"]), _list(raw_list=b"\xe9\xff"))
    yield from (_list(raw_list=b"\xff\xfe\x00"), _list(raw_list=b"\0\0\0"), _list(raw_list=b""))


LAUGHS = (
    '<!DOCTYPE annotation [<!ENTITY cat "cat">'
    + "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10 if k else "ha" * 10}">' for k in range(12))
    + "]>"
)
OUTSIDE = '<!DOCTYPE annotation [<!ENTITY cat SYSTEM "file:///etc/hostname">]>'
MEANT_IN_VOC = tuple(_meant())
DAMAGED_IN_VOC = tuple(_damaged())


def changed_folder(changes: list[FolderChange]) -> Folder:
    """The good folder after these changes; a change of a part that is gone is skipped."""
    folder = good_folder()
    for change in changes:
        try:
            change.apply(folder)
        except (KeyError, IndexError, TypeError, AttributeError):
            continue
    return folder
