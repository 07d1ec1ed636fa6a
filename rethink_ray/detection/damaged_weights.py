"""Recognises files that were to be weights and are none: downloads that went wrong or were cut."""

from rethink_ray.spec.errors import Explanation, SpecError

GIT_LFS = b"version https://git-lfs.github.com/"
"""The beginning of the text that git keeps in place of a large file."""
MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<head")
ZIP_BEGIN, ZIP_END = b"PK\x03\x04", b"PK\x05\x06"
ZIP_END_BYTES = 22 + 65_535
"""Most bytes from the end mark of a ZIP archive to the end of its file: 22 and a comment."""
CUT_WORDS = ("unexpected EOF", "truncated", "not fully covered", "Ran out of input")
"""Words of torch, pickle and safetensors about files that end too early."""
MOST_HEADER_BYTES = 100_000_000
"""Length of the longest header that safetensors reads."""
DOWNLOAD_AGAIN = "Download it again, and compare its size with that of the source."


def require_whole_download(content: bytes, where: str) -> None:
    """Refuses pointers of Git LFS, web pages and files that end too early.

    Raises:
        SpecError: the file is one of them.
    """
    must = "must be a file of tensors"
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not content:
        raise SpecError(Explanation.of(where, must, "an empty file", DOWNLOAD_AGAIN))
    if content.startswith(GIT_LFS):
        remedy = "Run git lfs pull in its folder, or download the file itself."
        raise SpecError(Explanation.of(where, must, "a pointer of Git LFS", remedy))
    if start.startswith(MARKUP):
        remedy = (
            "Download it again: an address that asks for a login, or shows the file in a browser, "
            "gives a page."
        )
        raise SpecError(Explanation.of(where, must, "a web page (HTML or XML)", remedy))
    if _is_cut(content):
        must = "must be a whole file of tensors"
        shown = f"one that is cut after {len(content):,} bytes"
        raise SpecError(Explanation.of(where, must, shown, DOWNLOAD_AGAIN))


def is_cut_error(error: Exception) -> bool:
    """Returns whether a library raised ``error`` because a file ends too early."""
    return isinstance(error, EOFError) or any(words in str(error) for words in CUT_WORDS)


def _is_cut(content: bytes) -> bool:
    """Returns whether an archive, or the header of a safetensors file, lacks its end."""
    if content.startswith(ZIP_BEGIN):
        return ZIP_END not in content[-ZIP_END_BYTES:]
    num_header_bytes = int.from_bytes(content[:8], "little")
    if content[8:9] == b"{" and num_header_bytes <= MOST_HEADER_BYTES:
        return len(content) < 8 + num_header_bytes
    return False
