"""Whether a claim holds in a sweep's runs, and how sure one can be."""

import math

import numpy as np
import xarray as xr
from jaxtyping import Shaped
from scipy import stats

from .._core.errors import InputError
from ..maps.scaling import half_widths
from ..sweeps.runs import runs_of
from .claim import Claim
from .judged import LEFT_OUT, Holds, Verdict, along_of, few, interval, medians, shown, told, within
from .resample import bootstrap, median, sign_change, spearman
from .sample import Sample, chosen, paired, sample

# The least that an order by chance may be likely for it to say anything.
_CHANCE = 0.05


def check_claim(claim: Claim, dataset: xr.Dataset) -> Verdict:
    """Holds a claim against the runs of a sweep.

    Runs with one seed share data and initial direction, so intervals are over seeds: for rank
    correlations and medians by a bootstrap that draws seeds, for slopes as in
    [`scaling_fit`][lazyrich.maps.scaling_fit]. With one seed runs take the place of seeds. Times
    that did not come by the horizon are ranked last and counted. A slope cannot take them in:
    where there are any, it says nothing.

    - **Takes** a sweep's dataset.
    - **Raises** [`InputError`][lazyrich.InputError] for a quantity or key that is not there, and
        if the claim is about none of the runs.
    """
    try:
        if claim.kind == "outcomes":
            return _outcomes(claim, dataset)
        found = sample(dataset, claim.quantity, claim.where, claim.beside)
        if claim.against:
            others = sample(dataset, claim.quantity, claim.against)
            found = paired(found, others, set(claim.against), claim.compared)
        if claim.kind in ("increases", "decreases"):
            return _order(claim, found)
        if claim.kind in ("power_law", "log_law"):
            return _law(claim, found)
        if claim.kind == "share_above":
            return _share(claim, found)
        if claim.kind == "changes_sign":
            return _turn(claim, found)
        return _level(claim, found)
    except InputError as error:
        raise error.under(f"claims[{claim.text!r}]") from None


def _outcomes(claim: Claim, dataset: xr.Dataset) -> Verdict:
    runs = chosen(runs_of(dataset), claim.where)
    all_outcomes = runs.outcomes()
    ran = all_outcomes[all_outcomes != "missing"]
    num = len(ran)
    hits = int(np.sum(np.isin(ran, claim.outcomes)))
    (share, low, high), ours = _exact(hits, num)
    names = " or ".join(claim.outcomes).replace("_", " ")
    others, counts = np.unique(ran[~np.isin(ran, claim.outcomes)].astype(str), return_counts=True)
    ours += "".join(
        f"; {n} {kind.replace('_', ' ')}" for kind, n in zip(others, counts, strict=True)
    )
    holds: Holds = "yes" if num and hits >= claim.share * num else "no"
    missing = len(all_outcomes) - num
    # One run is enough to refute what is said of all, and never to confirm it.
    refuted = holds == "no" and claim.share == 1 and num
    if not refuted and (num < claim.min_runs or missing):
        holds, ours = "cannot say", f"{ours}; {few(num, claim.min_runs, missing)}"
    return Verdict(
        claim,
        f"runs that come out as {names}, exact 95 % interval",
        f"{_most(claim)} {names}",
        ours,
        holds,
        share,
        low,
        high,
        num,
        0,
        missing,
    )


def _exact(hits: int, num: int) -> tuple[tuple[float, float, float], str]:
    """A share with its exact interval, and both in words."""
    if not num:
        return (math.nan, math.nan, math.nan), f"{hits} of {num}"
    low, high = stats.binomtest(hits, num).proportion_ci(0.95, "exact")
    return (hits / num, low, high), f"{hits} of {num}, share [{low:.2g}, {high:.2g}]"


def _most(claim: Claim) -> str:
    return "all" if claim.share == 1 else f"at least {claim.share:.0%}"


def _order(claim: Claim, found: Sample) -> Verdict:
    x = along_of(claim, found)
    lines = found.lines(str(claim.along))
    parts = [np.flatnonzero(lines == line) for line in np.unique(lines)]
    parts = [rows for rows in parts if len(np.unique(x[rows])) > 1] or [np.arange(len(x))]
    each = np.array([spearman(x[rows], found.values[rows]) for rows in parts])
    estimate = float(np.mean(np.nan_to_num(each))) if not np.all(np.isnan(each)) else math.nan
    name, clusters = found.clusters
    if name == "seeds" and len(parts) > 1:
        over, of_line = "seeds", np.array([clusters[rows[0]] for rows in parts])
    else:
        over, of_line = "lines", np.arange(len(parts))
    if len(parts) > 1:
        low, high = bootstrap(lambda lines: float(np.mean(np.nan_to_num(each[lines]))), of_line)
    else:
        over, (rows,) = "runs", parts
        low, high = bootstrap(lambda i: spearman(x[rows[i]], found.values[rows[i]]), rows)
    chance = math.prod(1 / math.factorial(min(20, len(np.unique(x[rows])))) for rows in parts)
    why = ""
    if math.isnan(estimate):
        why = "no order: nothing changes"
    elif chance > _CHANCE or math.isnan(low):
        why = f"too few runs: such an order by chance has {chance:.2g}"
    sign = 1.0 if claim.kind == "increases" else -1.0
    bounds = sorted((sign * low, sign * high))
    holds: Holds = "cannot say"
    if not why and bounds[0] > claim.number:
        holds = "yes"
    elif not why and bounds[1] <= claim.number:
        holds = "no"
    more = f", rank correlation above {claim.number:g}" if claim.number else ""
    mean = ", mean over runs that differ in it alone" if len(parts) > 1 else ""
    return told(
        claim,
        found,
        f"Spearman's rank correlation of {claim.subject} with {claim.along}{mean}, 95 % "
        f"bootstrap interval over {over}",
        claim.kind + more,
        f"ρ = {estimate:.3g}{interval(low, high)}{medians(found, x)}",
        (estimate, low, high),
        holds,
        why,
    )


def _law(claim: Claim, found: Sample) -> Verdict:
    assert claim.along is not None
    x = along_of(claim, found)
    power = claim.kind == "power_law"
    came = ~found.never
    usable = came & (x > 0) & ((found.values > 0) | (not power))
    name, clusters = found.clusters
    slope = low = high = math.nan
    why = ""
    if not usable.all():
        why = f"{int(np.sum(~usable))} runs have no logarithm or did not come by the horizon"
    elif len(np.unique(x)) < 2 or len(x) < 3:
        why = "too few runs"
    else:
        log_x = np.log(x)
        y = np.log(found.values) if power else found.values
        design = np.stack([np.ones(len(x)), log_x], axis=1)
        (offset, slope), *_ = np.linalg.lstsq(design, y, rcond=None)
        residuals = y - offset - slope * log_x
        places = np.unique(clusters, return_inverse=True)[1]
        width = float(half_widths(design, residuals, places)[1])
        low, high = float(slope - width), float(slope + width)
        slope = float(slope)
        if math.isnan(width):
            why = "too few runs for an interval"
    band = (claim.number - claim.tolerance, claim.number + claim.tolerance)
    subject = f"log {claim.subject}" if power else claim.subject
    return told(
        claim,
        found,
        f"slope of {subject} against log {claim.along}, 95 % interval over {name}",
        f"{claim.number:g} ± {claim.tolerance:g}",
        f"{slope:.4g}{interval(low, high)}{medians(found, x)}",
        (slope, low, high),
        within(low, high, band, why),
        why,
    )


def _level(claim: Claim, found: Sample) -> Verdict:
    name, clusters = found.clusters

    def median_of(rows: Shaped[np.ndarray, " k"]) -> float:
        return median(found.values[rows])

    estimate = median_of(np.arange(len(found.values))) if len(found.values) else math.nan
    low, high = bootstrap(median_of, clusters) if len(found.values) > 1 else (estimate, estimate)
    value, wide = claim.number, 1 + claim.tolerance
    if claim.kind == "equals":
        edges = sorted((value / wide, value * wide)) if value else [-claim.tolerance, wide - 1]
        band, published = (edges[0], edges[1]), f"{value:g} ± {claim.tolerance:.0%}"
    elif claim.kind == "at_least":
        band, published = (value, math.inf), f"≥ {value:g}"
    else:
        band, published = (-math.inf, value), f"≤ {value:g}"
    why = ""
    if len(found.values) < claim.min_runs:
        why = f"{len(found.values)} of {claim.min_runs} runs needed"
    # What did not come is above any bound within the horizon, and beyond it nothing is known.
    elif found.never.any() and value > np.min(found.runs.key("t1", "t1")[found.never]):
        why = "some runs end before it"
    return told(
        claim,
        found,
        f"median of {claim.subject}, 95 % bootstrap interval over {name}",
        published,
        f"{shown(estimate)}{interval(low, high)}",
        (estimate, low, high),
        within(low, high, band, why),
        why,
    )


def _share(claim: Claim, found: Sample) -> Verdict:
    num, hits = len(found.values), int(np.sum(found.values > claim.number))
    numbers, ours = _exact(hits, num)
    holds: Holds = "cannot say"
    why = "" if num >= claim.min_runs else few(num, claim.min_runs, 0)
    if not why:
        holds = "yes" if hits >= claim.share * num else "no"
    how = f"runs with {claim.subject} above {claim.number:g}, of those that have it, exact 95 %"
    return told(claim, found, f"{how} interval", _most(claim), ours, numbers, holds, why)


def _turn(claim: Claim, found: Sample) -> Verdict:
    x, lines = along_of(claim, found), found.lines(str(claim.along))
    if np.any(x <= 0):
        raise InputError("along", claim.along, "should be a key whose values are positive")
    name, clusters = found.clusters
    parts = [np.flatnonzero(lines == line) for line in np.unique(lines)]
    places = np.array([sign_change(x[rows], found.values[rows]) for rows in parts])
    over = ""
    if found.beside is not None:
        places /= np.array([sign_change(x[rows], found.beside[rows]) for rows in parts])
        over = f" over where {claim.beside} does"
    turned = ~np.isnan(places)
    # Those that keep their sign turn beyond the values that there are, nobody knows on which side.
    of_line = np.array([clusters[rows[0]] for rows in parts])[turned]
    places = places[turned]
    estimate, low, high = math.nan, math.nan, math.nan
    if len(places):
        estimate = median(places)
        low, high = bootstrap(lambda rows: median(places[rows]), of_line)
    why = "" if len(places) >= claim.min_runs else f"{len(places)} of {claim.min_runs} lines needed"
    if not why and len(places) < (1 - LEFT_OUT) * len(parts):
        why = "too many lines keep their sign"
    wide, value = 1 + claim.tolerance, claim.number
    return told(
        claim,
        found,
        f"where {claim.subject} changes sign along {claim.along}{over}, median over lines, 95 % "
        f"bootstrap interval over {name if name == 'seeds' else 'lines'}",
        f"{value:g} ± {claim.tolerance:.0%}",
        f"{shown(estimate)}{interval(low, high)}; {len(places)} of {len(parts)} lines",
        (estimate, low, high),
        within(low, high, (value / wide, value * wide), why),
        why,
    )
