"""Scaling of transition times over a sweep: a regression, and the collapse of curves."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Shaped
from scipy import stats

from .._core.errors import InputError
from .._core.shown import as_html, interval, number, rows
from ..sweeps.runs import Runs, check_dataset, levels, runs_of


@dataclass(frozen=True, kw_only=True)
class ScalingFit:
    """`times * quantity = offset + slope * log(against)`, by least squares.

    - `slope`, `offset`: dimensionless for a time multiplied by its weight decay.
    - `slope_interval`, `offset_interval`: 95 % intervals, NaN if there are too few clusters.
    - `residuals`: over `run`, one for each run with the time; the coordinates are the swept keys
        and `log_against`.
    - `num_runs`: the number of runs in the fit; `num_censored`: the number of runs left out
        because the time is later than the horizon; `left_out`: all runs left out, by outcome.
    - `clusters`: the key whose values count as independent, or `run`; `num_clusters`: the number
        of its values.
    - `r_squared`: the share of the variance that the line explains.
    """

    quantity: str
    against: str
    times: str | None
    slope: float
    slope_interval: tuple[float, float]
    offset: float
    offset_interval: tuple[float, float]
    residuals: xr.DataArray
    num_runs: int
    num_censored: int
    left_out: dict[str, int]
    clusters: str
    num_clusters: int
    r_squared: float

    def __str__(self) -> str:
        law = f"{number(self.offset)} + {number(self.slope)} log {self.against}"
        return rows(
            fit=f"{_product(self.quantity, self.times)} = {law}",
            slope=f"{number(self.slope)}, 95 % from {interval(self.slope_interval)}",
            offset=f"{number(self.offset)}, 95 % from {interval(self.offset_interval)}",
            runs=f"{self.num_runs} in the fit, {self.num_censored} past the horizon, "
            f"{sum(self.left_out.values())} left out",
            clusters=f"{self.num_clusters} of {self.clusters}",
            r_squared=number(self.r_squared),
        )

    def _repr_html_(self) -> str:
        return as_html(self)


def _product(quantity: str, times: str | None) -> str:
    """The fitted quantity in words: multiplied by the key `times`, if there is one."""
    return quantity if times is None else f"{times} * {quantity}"


def scaling_fit(
    dataset: xr.Dataset,
    quantity: str = "t50",
    against: str = "init_scale",
    times: str | None = "weight_decay",
) -> ScalingFit:
    r"""Regresses `times * quantity` on the logarithm of `against`.

    With the default arguments this is $\lambda\, t_{50} = a + b \log \alpha$ with the natural
    logarithm. The limit theorems state $b = 1$, and do not determine $a$.

    Runs with the same seed share their data and their initial direction, so their errors are
    correlated, and an interval over runs would be too narrow. The intervals are cluster-robust
    with seeds as clusters, in a form for few clusters: squared residuals are corrected for
    leverage (CR2), and the $t$ distribution has the degrees of freedom that match the variance of
    the estimate for independent errors. If all seeds have runs at the same places, these are the
    $t$ intervals over one fit for each seed. With one seed, or without seeds in the dataset, runs
    are the clusters, and the interval does not contain the variation between seeds.

    - **Takes** a sweep's dataset; `quantity`, one of its times; `against`, a key with
        positive values; `times`, a key with positive values to multiply by, or None.
    - **Returns** a [`ScalingFit`][lazyrich.maps.ScalingFit]. Censored runs are left out and
        counted. If there are many, the fit is biased towards early times: extend the horizon.
    - **Raises** [`InputError`][lazyrich.InputError] for a key or time that is missing or not
        positive, and for fewer than three runs or a single value of `against`.
    - **Source** Bell & McCaffrey, Survey Methodology 28 (2002), 169--181: bias-reduced
        variance and degrees of freedom. Lyu et al., ICLR 2024, arXiv:2311.18817: slope 1.
    """
    runs = runs_of(dataset, quantity)
    values = runs.time(quantity)
    x = np.log(_positive(runs, against, "against"))
    factor = np.ones_like(values) if times is None else _positive(runs, times, "times")
    used = np.isfinite(values)
    outcomes = runs.outcomes()
    if np.sum(used) < 3:
        raise InputError(
            quantity,
            int(np.sum(used)),
            f"at least 3 of the {len(used)} runs should have this time: extend `t1`, or lower "
            "`Thresholds.test` if the test scores have settled below it",
        )
    if len(np.unique(x[used])) < 2:
        raise InputError(
            "against", against, "should have at least two values among the runs with a time"
        )
    clusters, cluster = _clusters(runs, used)
    design = np.stack([np.ones(np.sum(used)), x[used]], axis=1)
    target = (factor * values)[used]
    (offset, slope), *_ = np.linalg.lstsq(design, target, rcond=None)
    residuals = target - design @ np.array([offset, slope])
    intervals = half_widths(design, residuals, cluster)
    total = np.sum((target - target.mean()) ** 2)
    kept = runs.data.isel(run=used)
    coords: dict[str, Any] = {key: kept[key] for key in runs.keys}
    coords |= {
        key: ("run", runs.key(key, key)[used])
        for key in (against, times)
        if key is not None and key not in runs.keys
    }
    coords["log_against"] = ("run", x[used], {"long_name": f"log({against})", "units": "1"})
    about = {"long_name": f"residual of {_product(quantity, times)}", "units": "1"}
    names, numbers = np.unique(outcomes[~used].astype(str), return_counts=True)
    return ScalingFit(
        quantity=quantity,
        against=against,
        times=times,
        slope=float(slope),
        slope_interval=(float(slope - intervals[1]), float(slope + intervals[1])),
        offset=float(offset),
        offset_interval=(float(offset - intervals[0]), float(offset + intervals[0])),
        residuals=xr.DataArray(residuals, coords, ("run",), "residuals", about),
        num_runs=int(np.sum(used)),
        num_censored=int(np.sum(np.isposinf(values))),
        left_out=dict(zip(names.tolist(), numbers.tolist(), strict=True)),
        clusters=clusters,
        num_clusters=len(np.unique(cluster)),
        r_squared=float(1 - np.sum(residuals**2) / total) if total > 0 else np.nan,
    )


def _positive(runs: Runs, key: str, argument: str) -> Float[np.ndarray, " run"]:
    values = runs.key(key, argument)
    if values.dtype.kind not in "fiu":
        raise InputError(argument, key, "should be a key whose values are numbers")
    if not np.all(values > 0):
        worst = values[~(values > 0)][0].item()
        raise InputError(key, worst, "should be positive in every run: select runs where it is")
    return values.astype(float)


def _clusters(runs: Runs, used: Shaped[np.ndarray, " run"]) -> tuple[str, Int[np.ndarray, " used"]]:
    """The key whose values are independent draws, and the index of its value for each used run."""
    if "seed" in runs.keys:
        _, place = levels(runs.key("seed", "seed")[used])
        if len(np.unique(place)) > 1:
            return "seed", place
    return "run", np.arange(np.sum(used))


def half_widths(
    design: Float[np.ndarray, "n 2"],
    residuals: Float[np.ndarray, " n"],
    cluster: Int[np.ndarray, " n"],
) -> Float[np.ndarray, " 2"]:
    """Half widths of the 95 % intervals of both coefficients, offset first.

    For each cluster g with rows X_g, let A_g = (I - X_g M X_g')^(-1/2) and M = (X'X)^-1. The
    estimated variance of c'b is the sum over g of (c'M X_g' A_g u_g)^2. Its expectation and
    variance match a chi-squared distribution with (sum of e)^2 / (sum of e^2) degrees of freedom,
    where e are the eigenvalues of P'P with columns p_g = (I - X M X')_g' A_g X_g M c.
    """
    inverse = np.linalg.inv(design.T @ design)
    names = np.unique(cluster)
    scores = np.zeros((len(names), 2))
    lifted = np.zeros((2, len(names), len(residuals)))
    for g, name in enumerate(names):
        own = cluster == name
        # A_g differs from the identity only in the two directions of the design.
        q, r = np.linalg.qr(design[own])
        leverage, vectors = np.linalg.eigh(r @ inverse @ r.T)
        # If only one cluster determines a direction, its residual in this direction is zero.
        free = leverage < 1 - 1e-9
        gain = np.where(free, 1 / np.sqrt(np.where(free, 1 - leverage, 1)), 0)
        adjusted = q @ (vectors * gain) @ vectors.T @ r @ inverse
        scores[g] = adjusted.T @ residuals[own]
        lifted[:, g, own] = adjusted.T
        lifted[:, g] -= (design @ (inverse @ (design[own].T @ adjusted))).T
    widths = np.full(2, np.nan)
    for c in range(2):
        moments = lifted[c] @ lifted[c].T
        total = np.trace(moments)
        # If each cluster determines a direction of its own, only rounding errors remain.
        if total > 1e-9 * inverse[c, c]:
            freedom = total**2 / np.sum(moments**2)
            error = np.sqrt(np.sum(scores[:, c] ** 2))
            widths[c] = stats.t.ppf(0.975, freedom) * error
    return widths


@dataclass(frozen=True)
class Collapse:
    r"""How well curves coincide when time is replaced by $\lambda t - \log \alpha$.

    - `half`: over `run`, the last time at which a curve is halfway between its early and its
        late value; NaN for a run without such a time.
    - `before`: standard deviation over mean of $t$ at the half level.
    - `after`: standard deviation of $\lambda t - \log\alpha$ there, over the mean of $\lambda t$.
        It is 0 if the half time is $(1/\lambda)\log\alpha$ plus a constant over $\lambda$. Both
        are NaN for fewer than two runs.
    - `num_runs`: the number of runs with a half time.
    """

    half: xr.DataArray
    before: float
    after: float
    num_runs: int

    def __str__(self) -> str:
        return rows(
            spread_of_t=number(self.before),
            rescaled=f"{number(self.after)} in λt - log α",
            runs=self.num_runs,
        )

    def _repr_html_(self) -> str:
        return as_html(self)


def collapse(dataset: xr.Dataset, quantity: str = "test_accuracy") -> Collapse:
    r"""The spread of half times over a sweep, in plain and in rescaled time.

    Only runs that settled and whose test score changed (those with a `t50`) are used.

    - **Takes** a sweep's dataset with `time`, `quantity` and its early and late values;
        `init_scale` and `weight_decay` positive, swept or in the base experiment.
    - **Raises** [`InputError`][lazyrich.InputError] if one of these is missing.
    """
    check_dataset(dataset)
    ends = (f"early_{quantity}", f"late_{quantity}")
    for name in ("time", quantity, *ends):
        if name not in dataset:
            curves = [str(v) for v in dataset if "record" in dataset[v].dims and v != "time"]
            raise InputError(
                "quantity", quantity, f"should be a recorded curve among {', '.join(curves)}"
            )
    runs = runs_of(dataset, "time", "t50", quantity, *ends)
    scale = _positive(runs, "init_scale", "init_scale")
    decay = _positive(runs, "weight_decay", "weight_decay")
    moved = np.isfinite(runs.time("t50"))
    early, late = (runs.data[name].values for name in ends)
    half = np.full(len(moved), np.nan)
    for i in np.flatnonzero(moved & (late != early)):
        done = (runs.data[quantity].values[i] - early[i]) / (late[i] - early[i])
        half[i] = _last_half(runs.data["time"].values[i], done)
    known = np.isfinite(half)
    before = after = np.nan
    if np.sum(known) > 1:
        scaled = decay[known] * half[known]
        before = float(np.std(half[known]) / np.mean(half[known]))
        after = float(np.std(scaled - np.log(scale[known])) / np.mean(scaled))
    about = {"long_name": f"last time half-way in {quantity}", "units": "1"}
    coords: dict[str, Any] = {key: runs.data[key] for key in runs.keys}
    array = xr.DataArray(half, coords, ("run",), "half", about)
    return Collapse(array, before, after, int(np.sum(known)))


def _last_half(times: Float[np.ndarray, " t"], done: Float[np.ndarray, " t"]) -> float:
    """The last crossing of one half, interpolated in log time."""

    known = np.isfinite(done) & (times > 0)
    times, done = times[known], done[known]
    below = np.flatnonzero(done < 0.5)
    if len(below) == 0 or below[-1] == len(done) - 1:
        return np.nan
    i = below[-1]
    share = (0.5 - done[i]) / (done[i + 1] - done[i])
    return float(times[i] * (times[i + 1] / times[i]) ** share)
