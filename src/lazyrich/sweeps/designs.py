"""Designs: points that fill a box, for sweeps where a grid would be too large."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import qmc

from .._core.errors import InputError
from .._core.given import check_kind
from .axes import MAX_POINTS, Over

Box = Mapping[str, tuple[int | float, int | float]]


def sobol(box: Box, num: int, seed: int = 0, log: bool = True) -> Over:
    """A scrambled Sobol sequence in a box, as an axis of a sweep: `over={**sobol(...), ...}`.

    - **Takes** `box`, the smallest and the largest value by key; `num`, the number of points,
        best a power of two; `seed` of the scrambling; `log`, whether the points are uniform in
        the logarithms.
    - **Raises** [`InputError`][lazyrich.InputError] for an empty box or bounds in wrong order.
    - **Source** Owen's scrambling, as in `scipy.stats.qmc.Sobol`.
    """
    _check(box, num)
    engine = qmc.Sobol(max(1, len(box)), rng=np.random.default_rng(seed))
    # Drawn up to the next power of two, because sequences of other lengths are not balanced.
    points = engine.random_base2(max(0, int(num - 1).bit_length()))[:num]
    return _fill(box, points, log)


def random(box: Box, num: int, seed: int = 0, log: bool = True) -> Over:
    """Independent uniform points in a box; arguments as for `sobol`."""
    _check(box, num)
    return _fill(box, np.random.default_rng(seed).random((num, len(box))), log)


def _check(box: Box, num: int) -> None:
    check_kind("box", box, Mapping, "two bounds by key, such as {'init_scale': (1.0, 10.0)}")
    if not 0 < num <= MAX_POINTS:
        raise InputError("num", num, f"should be from 1 to {MAX_POINTS:,}")


def _fill(box: Box, unit: np.ndarray, log: bool) -> Over:
    if not box:
        raise InputError("box", dict(box), "should give the bounds of at least one key")
    columns: list[Any] = []
    for (key, bounds), fraction in zip(box.items(), unit.T, strict=True):
        low, high = map(float, bounds)
        if not (low < high and np.isfinite(high - low)) or (log and low <= 0):
            accepted = f"should be two {'positive ' if log else ''}numbers in order"
            raise InputError(f"box.{key}", bounds, accepted)
        values = low * (high / low) ** fraction if log else low + (high - low) * fraction
        columns.append(np.clip(values, low, high).tolist())
    return {tuple(box): list(zip(*columns, strict=True))}
