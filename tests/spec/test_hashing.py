"""Every hash keeps the value that records and published numbers carry."""

from pathlib import Path

from rethink_ray.spec.hashing import (
    asset_key,
    derive_seed,
    derive_words,
    digest_of,
    digest_of_parts,
    seed_from,
    seed_of,
    seed_of_assets,
    sha256_of,
    sha256_of_chunks,
    sha256_of_file,
)
from rethink_ray.spec.resolve import digest_of_draw


def test_ids_and_digests_keep_their_values() -> None:
    assert digest_of({"b": 1, "a": [1.5, None]}) == "cf0c4895ed707baa"
    assert digest_of({"a": [1.5, None], "b": 1}) == "cf0c4895ed707baa"
    assert asset_key("direct", {"trained": "x"}) == "direct-4354a34cb3e7f73b"
    assert digest_of_draw("t", 0, 60, 2) == "4be2caf61fc3084d"
    whole = "f7445929c05328ba1492abf25d254e21a08a8a488c337254f1b1439a7ddb644f"
    assert digest_of_parts("data", 7, "x") == whole


def test_seeds_keep_their_values() -> None:
    assert seed_of(0, "full/scratch", "search", 1) == 2016130027
    assert seed_of_assets(5) == 58323582
    assert seed_from("augment", 0, 3, 17) == 7380895888646147442
    assert derive_seed(3, "init", 5) == 4483056946350668268
    assert derive_words("7/rpn/3/12", 2) == (3100712110, 1017876034)


def test_a_text_its_bytes_its_chunks_and_its_file_have_one_hash(tmp_path: Path) -> None:
    whole = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"  # the standard's
    (tmp_path / "file").write_text("hello world")
    assert sha256_of("hello world") == sha256_of(b"hello world") == whole
    assert sha256_of(memoryview(b"hello world")) == whole
    assert sha256_of_chunks([b"hello", b" ", b"world"]) == whole
    assert sha256_of_file(tmp_path / "file").hex() == whole
