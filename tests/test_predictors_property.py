"""Never certified and wrong: predictors against rational arithmetic, on data made to be hard."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar

import lazyrich as lr
from tests import exact

quick = functools.partial(
    settings,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
FEW, MANY = quick(max_examples=25), quick(max_examples=1500)
# Norms and margins agree to the tolerance of a certificate.
CLOSE = 2e-6


class Case(NamedTuple):
    """Data that are exact in float64; `plain` if scales are those of small whole numbers."""

    x: np.ndarray
    y: np.ndarray
    plain: bool


KINDS = ("plain", "repeated", "multiple", "sum", "opposite", "near")
SCALES = ("none", "rows", "columns", "both", "all")


def whole(shape: Any, most: int) -> Any:
    return arrays(np.int64, shape, elements=st.integers(-most, most), fill=st.nothing()).map(
        np.float64
    )


@st.composite
def inputs(draw: Any, shapes: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, str, np.ndarray]:
    """A matrix, how its last row depends on others, and exponents of its rows."""
    n, d = draw(st.sampled_from(shapes))
    x = draw(whole((n, d), 8))
    kind = draw(st.sampled_from(KINDS))
    near = 2.0 ** -draw(st.integers(4, 33))
    x[-1] = {
        "plain": x[-1], "repeated": x[0], "multiple": 3 * x[0], "sum": x[0] + x[1],
        "opposite": -2 * x[0], "near": x[0] + near * x[-1],
    }[kind]  # fmt: skip
    return x, kind, np.zeros(n, int)


@st.composite
def scaled(draw: Any, x: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray, bool]:
    scale = draw(st.sampled_from(SCALES))
    n, d = x.shape
    powers = arrays(np.int64, (n,), elements=st.integers(-27, 27), fill=st.nothing())
    by_row = draw(powers) if scale in ("rows", "both") else np.zeros(n, int)
    by_column = np.zeros(d, int)
    if scale in ("columns", "both"):
        by_column = draw(arrays(np.int64, (d,), elements=st.integers(-27, 27), fill=st.nothing()))
    if scale == "all":
        by_row = by_row + draw(st.integers(-450, 450))
    x = np.ldexp(x, by_row[:, None] + by_column[None])
    return x, by_row, kind != "near" and scale in ("none", "all", "rows")


@st.composite
def interpolations(draw: Any) -> Case:
    x, kind, _ = draw(inputs(((3, 6), (5, 5), (6, 4))))
    w = draw(whole(x.shape[1], 3))
    y = x @ w if draw(st.booleans()) else draw(whole(len(x), 8))
    x, by_row, plain = draw(scaled(x, kind))
    return Case(x, np.ldexp(y, by_row), plain)


@st.composite
def separations(draw: Any) -> Case:
    x, kind, _ = draw(inputs(((3, 5), (5, 3))))
    labels = (
        draw(arrays(bool, len(x))) if draw(st.booleans()) else x @ draw(whole(x.shape[1], 8)) > 0
    )
    x, by_row, plain = draw(scaled(x, kind))
    # A margin depends on the scales of rows. If they span 1e8, it may be so small a part of its
    # terms that no direction in float64 attains it to a relative 1e-6.
    plain = plain and np.ptp(by_row) <= 20
    return Case(x, np.where(labels, 1.0, -1.0), bool(plain))


def compared(found: lr.predictors.Predictor, right: float | None, plain: bool) -> None:
    """What a certificate says against what is right; None where there is no answer."""
    if found.status in ("optimal", "stationary"):
        assert right is not None
        assert abs(found.objective - right) <= CLOSE * right
        assert found.why == ""
    else:
        assert found.why
    if found.status == "not_separable":
        assert right is None
    # Data without hard scales are decided.
    if plain:
        assert found.status == ("not_separable" if right is None else "optimal")


def interpolants_agree(case: Case) -> None:
    for predict, solve in (
        (lr.predictors.l2_min_norm, exact.least_l2),
        (lr.predictors.l1_min_norm, exact.least_l1),
    ):
        found, right = predict(case.x, case.y), solve(case.x, case.y)
        compared(found, right, case.plain)
        if found.status == "optimal":
            assert right is not None
            size = np.abs(case.x) @ np.abs(found.weights) + np.abs(case.y)
            assert np.all(np.abs(case.x @ found.weights - case.y) <= 1e-6 * size)
        if right is not None and np.isfinite(found.bound):
            assert found.bound <= right * (1 + 1e-12)


def margins_agree(case: Case, predict: Any, solve: Callable[..., float | None]) -> None:
    found, right = predict(case.x, case.y), solve(case.y[:, None] * case.x)
    compared(found, right, case.plain)
    if right is not None:
        assert found.bound >= right * (1 - 1e-12)
        assert found.objective <= right * (1 + 1e-12)


@pytest.mark.slow
@FEW
@given(interpolations())
def test_interpolants(case):
    interpolants_agree(case)


@pytest.mark.battery
@MANY
@given(interpolations())
def test_many_interpolants(case):
    interpolants_agree(case)


@FEW
@given(separations())
def test_l2_margins(case):
    margins_agree(case, lr.predictors.l2_max_margin, exact.l2_margin)


@pytest.mark.battery
@MANY
@given(separations())
def test_many_l2_margins(case):
    margins_agree(case, lr.predictors.l2_max_margin, exact.l2_margin)


@pytest.mark.slow
@FEW
@given(separations())
def test_l1_margins(case):
    margins_agree(case, lr.predictors.l1_max_margin, exact.l1_margin)


@pytest.mark.battery
@quick(max_examples=500)
@given(separations())
def test_many_l1_margins(case):
    margins_agree(case, lr.predictors.l1_max_margin, exact.l1_margin)


@pytest.mark.battery
@quick(max_examples=200)
@given(separations())
def test_many_deep_margins(case):
    """A stationary point is checked by what defines one; several may be right."""
    found = lr.predictors.lq_max_margin(case.x, case.y, 0.5)
    right = exact.l2_margin(case.y[:, None] * case.x)
    if found.status == "not_separable":
        assert right is None
    if found.status == "stationary":
        w = np.abs(found.weights)
        assert np.sum(w**0.5) == pytest.approx(1)
        margins = case.y * (case.x @ found.weights)
        assert np.min(margins) == pytest.approx(found.objective, rel=CLOSE)
        pull = np.abs((found.dual * case.y) @ case.x) * w**0.5
        assert np.max(pull) == pytest.approx(found.objective, rel=CLOSE)
        assert found.objective > 0


@pytest.mark.battery
@quick(max_examples=300)
@given(separations())
def test_many_tangent_margins(case):
    """Of a linear model it is the linear machine."""
    if case.x.shape != (3, 5):
        return
    model = lr.models.MLP(widths=(), bias=False, activation="identity")
    params = model.init(jax.random.key(0), 5)
    found = lr.predictors.tangent_max_margin(model, params, case.x, case.y, tolerance=1e-6)
    right = exact.l2_margin(case.y[:, None] * case.x)
    if found.status == "optimal":
        assert right is not None
    if found.status == "not_separable":
        assert right is None


@st.composite
def classes(draw: Any) -> Case:
    x = draw(whole((4, 3), 8))
    y = draw(arrays(np.int64, 4, elements=st.integers(0, 2)))
    x[~x.any(axis=1)] = 1.0
    return Case(x * 2.0 ** draw(st.integers(-450, 450)), y, False)


def classes_agree(case: Case) -> None:
    found = lr.predictors.multiclass_max_margin(case.x, case.y, 3, max_sweeps=200)
    pairs = [
        np.kron(np.eye(3)[own] - np.eye(3)[other], row)
        for row, own in zip(case.x, case.y, strict=True)
        for other in range(3)
        if other != own
    ]
    right = exact.l2_margin(np.array(pairs))
    if found.status == "optimal":
        assert right is not None
        assert abs(found.objective - right) <= 2e-3 * right
    if found.status == "not_separable":
        assert right is None
    if right is not None:
        assert found.bound >= right * (1 - 1e-12)
        assert found.objective <= right * (1 + 1e-12)


def test_opposite_samples_of_one_class_are_not_separable():
    # The multipliers of (0, 0, 1) and (0, 0, -1) grow without bound.
    x = np.array([[0, 1, 0], [0, 0, -1], [0, 0, 1], [1, 1, 1]], float)
    found = lr.predictors.multiclass_max_margin(x, np.zeros(4, int), 3, max_sweeps=5000)
    assert found.status == "not_separable"


@quick(max_examples=8)
@given(classes())
def test_margins_of_classes(case):
    classes_agree(case)


@pytest.mark.battery
@quick(max_examples=300)
@given(classes())
def test_many_margins_of_classes(case):
    classes_agree(case)


@st.composite
def completions(draw: Any) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Entries of a symmetric matrix, all but one, some of them twice; and which one."""
    every = [(i, j) for i in range(3) for j in range(i, 3)]
    free = draw(st.sampled_from(every))
    index = np.array([place for place in every if place != free])
    powers = draw(arrays(np.int64, 5, elements=st.integers(-13, 13)))
    values = draw(whole(5, 8)) * 2.0 ** (powers * draw(st.integers(0, 2)))
    if draw(st.booleans()):
        index = np.vstack([index, index[:2, ::-1]])
        values = np.append(values, values[:2])
    return index, values, free


def completions_agree(case: tuple[np.ndarray, np.ndarray, tuple[int, int]]) -> None:
    index, values, free = case
    found = lr.predictors.min_nuclear_norm(index, values, 3)
    known = np.zeros((3, 3))
    known[tuple(index.T)] = known[tuple(index[:, ::-1].T)] = values

    def norm(entry: float) -> float:
        matrix = known.copy()
        matrix[free] = matrix[free[::-1]] = entry
        return float(np.abs(np.linalg.eigvalsh(matrix)).sum())

    reach = 2 * norm(0.0) + 1
    right = minimize_scalar(
        norm, bounds=(-reach, reach), method="bounded", options={"xatol": 1e-12}
    )
    best = min(float(right.fun), norm(0.0))
    assert found.status in ("optimal", "not_proven")
    if found.status == "optimal":
        assert found.objective <= best * (1 + 1e-6)
        assert found.bound <= best * (1 + 1e-12)
    kernel = lr.predictors.kernel_completion(index, values, 3)
    assert kernel.status == "optimal"
    assert kernel.objective == pytest.approx(np.linalg.norm(known) / np.sqrt(8))


@FEW
@given(completions())
def test_completions(case):
    completions_agree(case)


@pytest.mark.battery
@MANY
@given(completions())
def test_many_completions(case):
    completions_agree(case)
