"""Numbers for people: no exponent, whatever their size."""

import pytest

from rethink_ray.spec.number_text import say_number


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.01234, 3, "0.0123"),
        (14.44, 3, "14.4"),
        (999.6, 3, "1000"),
        (1350.0, 3, "1350"),
        (1.74, 2, "1.7"),
        (104.4, 2, "104"),  # minutes of 1.74 h
        (0.0042, 1, "0.004"),
        (0.0, 3, "0"),
    ],
)
def test_a_number_has_its_digits_and_no_exponent(value: float, digits: int, text: str) -> None:
    assert say_number(value, digits) == text
