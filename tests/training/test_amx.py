"""Which CPUs multiply bfloat16 matrices in hardware, by what Linux says of them."""

from pathlib import Path

import pytest

from rethink_ray.training.amx import has_amx


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512f avx512_bf16 amx_bf16 avx512_fp16 amx_tile amx_int8", True),
        ("fpu avx512f avx512_bf16", False),  # AMD's: the type, without the matrix unit
        ("fpu amx_tile amx_int8", False),
        ("", False),
    ],
)
def test_amx_is_a_flag_of_the_first_processor(tmp_path: Path, flags: str, expected: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: amx_bf16\nflags\t\t: {flags}\n")
    assert has_amx(cpuinfo) == expected


def test_a_system_that_does_not_say_has_none(tmp_path: Path) -> None:
    assert not has_amx(tmp_path / "absent")
