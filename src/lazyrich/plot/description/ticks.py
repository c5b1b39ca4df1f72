"""Ticks of an axis: at least two with a label, for every range."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Scale = Literal["linear", "log", "place"]

_STEPS = (1.0, 2.0, 2.5, 5.0)
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Powers of ten in this range are written out.
_WRITTEN_OUT = (1e-2, 1e3)
# What is labelled between powers of ten on an axis with fewer than two of them.
_BETWEEN = ((1, 3), (1, 2, 5), (1, 2, 3, 5, 7))


@dataclass(frozen=True)
class Ticks:
    """Positions with labels, and positions between them without."""

    major: tuple[float, ...]
    labels: tuple[str, ...]
    minor: tuple[float, ...] = ()


def ticks(low: float, high: float, scale: Scale = "linear", most: int = 6) -> Ticks:
    """Ticks at round numbers within a range.

    - **Takes** `low` < `high`, positive on a log axis; `most`, the number of labels that there is
        room for.
    - **Returns** at least two labelled ticks, and about `most` or fewer if that allows two.
    """
    most = max(most, 2)
    return _log_ticks(low, high, most) if scale == "log" else _linear_ticks(low, high, most)


def _linear_ticks(low: float, high: float, most: int) -> Ticks:
    found = _multiples(low, high, most)
    return Ticks(tuple(found.tolist()), _plainly(found))


def _multiples(low: float, high: float, most: int) -> np.ndarray:
    """The multiples of the smallest round step of which at most `most` are in the range."""
    magnitude = 10.0 ** math.floor(math.log10((high - low) / most))
    two: np.ndarray | None = None
    for step in (factor * scale * magnitude for scale in (1, 10, 100) for factor in _STEPS):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        found = np.arange(first, last + 1) * step
        if len(found) >= 2:
            two = found
        if len(found) <= most:
            break
    assert two is not None, (low, high)
    return two


def _log_ticks(low: float, high: float, most: int) -> Ticks:
    lowest, highest = math.log10(low), math.log10(high)
    first, last = math.ceil(lowest - 1e-9), math.floor(highest + 1e-9)
    plain = _WRITTEN_OUT[0] <= low and high <= 10 * _WRITTEN_OUT[1]
    if last - first < 1 or (last - first < 2 and plain):
        return _between_powers(low, high, most)
    # Powers that are not labelled have a small tick each, and so do their multiples where there
    # is room for these.
    every = math.ceil((last - first + 1) / most)
    every = min(every, last - first)
    labelled = [p for p in range(first, last + 1) if p % every == 0]
    if len(labelled) < 2:
        labelled = list(range(first, last + 1, every))
    major = tuple(10.0**p for p in labelled)
    if every == 1:
        minor = [k * 10.0**p for p in range(first - 1, last + 1) for k in range(2, 10)]
    else:
        minor = [10.0**p for p in range(first, last + 1) if p not in labelled]
    inside = tuple(at for at in minor if low <= at <= high)
    return Ticks(major, _powers(labelled), inside)


def _between_powers(low: float, high: float, most: int) -> Ticks:
    power = math.floor(math.log10(low))
    decades = [10.0**p for p in range(power, power + 4)]
    fine = [k * d for d in decades for k in range(1, 10) if low <= k * d <= high]
    best: list[float] = []
    for factors in _BETWEEN:
        found = [k * d for d in decades for k in factors if low <= k * d <= high]
        if 2 <= len(found) <= max(most, 3):
            best = found
    single = len(best) > 1
    if not single:
        best = _multiples(low, high, most).tolist()
    minor = tuple(at for at in fine if not np.isclose(at, best, rtol=1e-9).any())
    # Beyond 0.01 and 10⁴ each single digit has a power of its own, 5×10⁴ and 10⁵.
    plain = not single or (best[0] >= _WRITTEN_OUT[0] and best[-1] < 10 * _WRITTEN_OUT[1])
    labels = _plainly(np.array(best)) if plain else tuple(map(number_text, best))
    return Ticks(tuple(best), labels, minor)


def _powers(exponents: list[int]) -> tuple[str, ...]:
    values = [10.0**p for p in exponents]
    if _WRITTEN_OUT[0] <= min(values) and max(values) <= _WRITTEN_OUT[1]:
        return tuple(f"{value:g}" for value in values)
    return tuple("10" + superscript(p) for p in exponents)


def number_text(value: float) -> str:
    """A number as a label, with four significant digits; large and small ones by powers of ten."""
    digits, power = f"{value:.3e}".split("e")
    factor, exponent = float(digits), int(power)
    if value == 0 or -2 <= exponent < 4:
        return written_out(value)
    return f"10{superscript(exponent)}" if factor == 1 else _times_power(factor, exponent)


def written_out(value: float) -> str:
    """A number with four significant digits; beyond 10⁻⁴ and 10⁴ with an `e`."""
    return _with_minus(f"{value:.4g}")


def superscript(number: int) -> str:
    """A whole number as an exponent."""
    return str(number).translate(_SUPERSCRIPTS)


def _plainly(values: np.ndarray) -> tuple[str, ...]:
    """The shortest texts that distinguish the values; large and small ones by powers of ten."""
    largest = float(np.max(np.abs(values)))
    power = math.floor(math.log10(largest)) if largest > 0 else 0
    if -3 <= power <= 4:
        for digits in range(4):
            texts = [f"{value + 0.0:.{digits}f}" for value in values]
            if np.allclose([float(t) for t in texts], values, rtol=0, atol=1e-6 * largest):
                return tuple(map(_with_minus, texts))
        return tuple(_with_minus(f"{value:.6g}") for value in values)
    return tuple(_times_power(value / 10.0**power, power) for value in values)


def _times_power(factor: float, power: int) -> str:
    return "0" if factor == 0 else f"{_with_minus(f'{factor:.6g}')}×10{superscript(power)}"


def _with_minus(text: str) -> str:
    """A number with the minus sign in place of a hyphen."""
    return text.replace("-", "−")
