"""Numbers as people read them: a few digits, and no exponent."""


def say_number(value: float, digits: int = 3) -> str:
    """A number of at least so many significant digits: ``0.0123``, ``14.4``, ``1350``.

    ``f"{1350:.3g}"`` would be ``1.35e+03``.
    """
    return f"{value:.0f}" if abs(value) >= 10.0 ** (digits - 1) else f"{value:.{digits}g}"
