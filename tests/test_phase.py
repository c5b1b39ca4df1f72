"""Maps of sweeps, on datasets whose answers are known."""

import itertools
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh
from matplotlib.contour import QuadContourSet
from scipy import stats

import lazyrich as lr
from lazyrich.maps import Bisection, boundary, collapse, phase_diagram, scaling_fit
from lazyrich.maps.refinement import Crossings
from lazyrich.maps.scaling import half_widths
from lazyrich.plot import collapse as plot_collapse, map as plot_map, scaling as plot_scaling
from lazyrich.plot.describe._grid import scale_of
from lazyrich.records.transition import OUTCOMES
from lazyrich.sweeps.runs import levels

SCALES = np.geomspace(2, 200, 9)
DECAYS = np.geomspace(1e-4, 1e-2, 5)
KEYS = ("init_scale", "weight_decay", "seed")
EXPERIMENT = 'init_scale = 10.0\nweight_decay = 1e-3\nt1 = 2e5\nmodel = { kind = "MLP" }\n'


def sweep(outcome="grokked", scales=SCALES, decays=DECAYS, num_seeds=3, **variables):
    """A gridded dataset; everything broadcast over (scale, decay, seed)."""
    coords = {"init_scale": scales, "weight_decay": decays, "seed": np.arange(num_seeds)}
    shape = tuple(len(values) for values in coords.values())
    variables = {"t_train": 1.0, "t_test": np.nan, "t10": np.nan, "t90": np.nan} | variables
    variables = {"t50": np.nan} | variables
    data = {name: (KEYS, np.broadcast_to(v, shape).copy()) for name, v in variables.items()}
    data["outcome"] = (KEYS, np.broadcast_to(np.asarray(outcome, dtype=object), shape).copy())
    return xr.Dataset(data, coords, {"experiment": EXPERIMENT})


def as_runs(dataset, rng=None):
    """The same without a grid, in any order."""
    flat = dataset.stack(run=KEYS).reset_index("run").transpose("run", ...)
    order = np.arange(flat.sizes["run"])
    return flat.isel(run=order if rng is None else rng.permutation(order))


def textbook(noise=0.0, num_seeds=3, seed=0, offset=0.0):
    """Half times (log α + offset) / λ, times one and noise; λ = 1e-4 and large α censored."""
    rng = np.random.default_rng(seed)
    half = (np.log(SCALES)[:, None, None] + offset) / DECAYS[:, None]
    half = half * (1 + noise * rng.normal(size=(len(SCALES), len(DECAYS), num_seeds)))
    outcome = np.where(half < 4e4, "grokked", "not_within_budget")
    half[outcome != "grokked"] = np.nan
    times = {"t10": half / 1.5, "t50": half, "t90": 1.5 * half, "t_test": 1.6 * half}
    return sweep(outcome, num_seeds=num_seeds, **times)


# Phase diagrams


@pytest.mark.parametrize("text", ["t1 = " + "[" * 200_000, "t1 = 'late'", "a." * 500 + "b = 1"])
def test_the_description_in_a_dataset_is_read_with_limits(text):
    dataset = sweep(t50=1e3).assign_attrs(experiment=text)
    with pytest.raises(lr.InputError, match=r"^record = ") as error:
        phase_diagram(dataset)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("flat", [False, True])
def test_diagram_of_a_full_grid(flat):
    dataset = textbook()
    diagram = phase_diagram(as_runs(dataset, np.random.default_rng(1)) if flat else dataset)
    half = dataset["t50"].isel(seed=0).transpose(*diagram["t50"].dims).values
    assert diagram["t50"].dims == ("weight_decay", "init_scale")
    np.testing.assert_allclose(diagram["t50"], half)
    np.testing.assert_allclose(diagram["delay"], 1.6 * half)
    np.testing.assert_allclose(diagram["width"].values[np.isfinite(half)], np.log(2.25))
    assert np.all((diagram["outcome"] == "grokked").values == np.isfinite(half))
    assert np.isnan(diagram["delay"].values[np.isnan(half)]).all()
    assert (diagram["num_runs"] == 3).all()
    assert (diagram["agreement"] == 1).all()
    assert diagram["count"].sum() == dataset["outcome"].size
    assert diagram.attrs["t1"] == 2e5
    for variable in diagram.variables.values():
        assert "long_name" in variable.attrs
        assert "units" in variable.attrs


def cell(outcomes, **times):
    times = {name: np.asarray(values, dtype=float) for name, values in times.items()}
    dataset = sweep(outcomes, [2.0], [0.1], len(outcomes), **times)
    return phase_diagram(dataset).isel(init_scale=0, weight_decay=0)


@pytest.mark.parametrize(
    ("outcomes", "outcome", "agreement"),
    [
        (["grokked", "immediate", "grokked"], "grokked", 2 / 3),
        (["grokked", "immediate"], "immediate", 1 / 2),
        (["immediate", "grokked", "failed"], "failed", 1 / 3),
        (["misgrokked", "not_within_budget"], "not_within_budget", 1 / 2),
        (["missing", "missing", "grokked"], "grokked", 1),
        (["missing", "missing"], "missing", np.nan),
    ],
)
def test_majority_and_ties(outcomes, outcome, agreement):
    for order in itertools.permutations(outcomes):
        found = cell(list(order))
        assert found["outcome"] == outcome
        np.testing.assert_allclose(found["agreement"], agreement)


def test_censored_runs_are_late_and_never_zero_nor_infinite():
    g, n, nan = "grokked", "not_within_budget", np.nan
    one = cell([g, g, g, n, n], t50=[1, 2, 3, nan, nan], t_test=[1, 2, 3, nan, nan])
    # The third of five: the two that are censored come after it.
    assert (one["t50"], one["delay"], one["lag"], one["t50_low"]) == (3, 3, 2, 2)
    assert np.isnan(one["t50_high"])
    assert np.isnan(cell([g, g, n, n, n], t50=[1, 2, nan, nan, nan])["t50"])
    assert cell([g, g, n, n], t50=[1, 2, nan, nan])["t50"] == 2
    # The change of a run that goes on is a part of an unknown whole.
    assert cell([g, g, n], t50=[1, 3, 0.5])["t50"] == 3
    # What failed says nothing about time, and two of three are enough.
    assert cell([g, g, "failed"], t50=[1, 3, nan])["t50"] == 2
    assert np.isnan(cell([g, "failed", "diverged"], t50=[1, nan, nan])["t50"])
    assert np.isnan(cell([g], t_train=[0.0], t_test=[1.0])["delay"])


def test_missing_places_and_several_sweeps_in_one_store():
    flat = as_runs(textbook()).isel(run=slice(5, None))
    diagram = phase_diagram(flat)
    assert int(diagram["num_runs"].sum()) == flat.sizes["run"]
    assert diagram["outcome"].values[0, 0] == "missing"
    assert np.isnan(diagram["t50"].values[0, 0])
    # The last place of a logarithmic grid differs between machines.
    shaken = flat.assign_coords(init_scale=flat["init_scale"] * (1 + 1e-15))
    assert phase_diagram(xr.concat([flat, shaken], "run")).sizes == diagram.sizes
    lost = flat["init_scale"].values.copy()
    lost[0] = np.nan
    some = flat.drop_vars(KEYS).assign_coords(init_scale=("run", lost))
    assert phase_diagram(some).attrs["num_without_place"] == 1


def test_other_axes_and_selections():
    dataset = textbook()
    by_seed = phase_diagram(dataset, x="seed", y="weight_decay")
    assert by_seed["outcome"].dims == ("weight_decay", "seed")
    one = phase_diagram(dataset.sel(seed=0, weight_decay=DECAYS[-1]))
    assert one.sizes["weight_decay"] == 1
    np.testing.assert_allclose(one["t50"].values[0], dataset["t50"].values[:, -1, 0])
    fixed = phase_diagram(dataset.isel(weight_decay=0, drop=True))
    assert fixed["weight_decay"].values.tolist() == [1e-3]
    names, place = levels(np.array(["tanh", "relu", "tanh"]))
    assert (names.tolist(), place.tolist()) == (["relu", "tanh"], [1, 0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: phase_diagram(d, x="alpha"), r"x = 'alpha': should be a swept key \(init"),
        (lambda d: phase_diagram(d, y="model"), r"y = 'model': should be a swept key"),
        (lambda d: phase_diagram(d, y="init_scale"), "y = 'init_scale': should differ"),
        (lambda d: phase_diagram(d.drop_vars("outcome")), "dataset = .*: should be a sweep's"),
        (lambda d: phase_diagram(d.assign(outcome=d["outcome"] + "x")), "outcome = 'grokkedx'"),
        (lambda d: boundary(d, between=("grokked", "grokked")), "between = .*: should be two"),
        (lambda d: boundary(d, between=("grok", "immediate")), "between = .*: should be two"),
        (lambda d: boundary(d.isel(init_scale=[0])), "x = 'init_scale': should take several"),
        (lambda d: scaling_fit(d, "t51"), "quantity = 't51': .*t_train, t_test"),
        (lambda d: scaling_fit(d, against="depth"), "against = 'depth': should be a swept"),
        (lambda d: scaling_fit(d, times="wd"), "times = 'wd': should be a swept key"),
        (lambda d: scaling_fit(d, against="seed"), "seed = 0: should be positive"),
        (lambda d: scaling_fit(d.isel(init_scale=[0])), "against = .*: should have at least two"),
        (
            lambda d: scaling_fit(d.assign(t50=np.nan * d["t50"])),
            "t50 = 0: at least 3 of the 135 runs should have this time",
        ),
        (lambda d: collapse(d, "test_acc"), "quantity = 'test_acc': should be a recorded curve"),
        (lambda d: Bisection((2.0, 1.0)), "lattice = .*: should be at least two places in inc"),
        (lambda d: Bisection((1.0, 2.0), every=0), "every = 0: should be at least 1"),
    ],
)
def test_errors_name_the_key_and_what_is_accepted(call, message):
    with pytest.raises(lr.InputError, match="^" + message):
        call(textbook())


# Boundaries


def half_planes(shift, num_seeds=3, scales=SCALES):
    """Grokked from α = 1000 λ^(1/2) exp(shift of the seed) on, immediate before."""
    place = 1000 * np.sqrt(DECAYS)[:, None] * np.exp(np.asarray(shift))
    outcome = np.where(scales[:, None, None] >= place, "grokked", "immediate")
    return sweep(outcome, scales, num_seeds=num_seeds), place


@pytest.mark.parametrize("flat", [False, True])
def test_boundary_of_a_known_line_lies_in_its_bracket(flat):
    dataset, place = half_planes([0.0, 0.0, 0.0])
    found = boundary(as_runs(dataset, np.random.default_rng(2)) if flat else dataset)
    step = np.log(SCALES[1] / SCALES[0])
    np.testing.assert_allclose(found["half_width"], step / 2)
    assert np.all(np.abs(np.log(found["place"].values / place[:, 0])) <= step / 2 + 1e-12)
    assert np.all(found["low"] < place[:, 0])
    assert np.all(place[:, 0] <= found["high"])
    assert (found["num_located"] == 3).all()
    assert (found["status"] == "located").all()
    assert found["seed"].values.tolist() == [0, 1, 2]
    # In either order, and against groups of outcomes.
    for between in (("grokked", "immediate"), (("immediate", "failed"), ("grokked",))):
        np.testing.assert_array_equal(boundary(dataset, between=between)["place"], found["place"])


def test_boundary_interval_holds_seeds_and_brackets():
    shift = np.linspace(-0.6, 0.6, 21)
    scales = np.geomspace(2, 400, 401)
    dataset, place = half_planes(shift, 21, scales)
    found = boundary(dataset)
    step = np.log(scales[1] / scales[0])
    for name, offset in (("place", 0.0), ("low", -0.48), ("high", 0.48)):
        miss = np.log(found[name].values / place[:, 10]) - offset
        assert np.max(np.abs(miss)) <= step
    # Left of the spread of every line's brackets, and right of it.
    inner = np.log(found["high"] / found["low"])
    assert np.all(inner >= 0.96)


def test_boundary_counts_what_has_none():
    rows = {
        "located": "iiiggg",
        "one_side": "gggggg",
        "several": "iggiig",
        "interrupted": "iiiddg",
        "neither": "dddddu",
        "too_few": "...i.f",
    }
    names = {"i": "immediate", "g": "grokked", "d": "diverged", "u": "untrained"}
    names |= {".": "missing", "f": "failed"}
    outcome = np.array([[names[c] for c in row] for row in rows.values()], dtype=object)
    found = boundary(sweep(outcome.T[:, None], SCALES[:6], [0.1], 6))
    assert found["status"].values[0].tolist() == list(rows)
    for name in rows:
        assert found[f"num_{name}"].values.tolist() == [1]
    assert np.isfinite(found["crossing"].values[0]).tolist() == [True] + 5 * [False]
    # One line of five that say something is no median.
    assert np.isnan(found["place"]).all()
    assert found["num_changes"].values[0].tolist() == [1, 0, 3, 1, 0, 0]
    # Failed and missing runs are passed over: the bracket is wider.
    wide = boundary(sweep(outcome.T[[0, 5, 5], None, :][:, :, [3]], [1.0, 4.0, 16.0], [0.1], 1))
    assert wide["place"].values.tolist() == pytest.approx([2.0])
    gap = np.array(["immediate", "failed", "grokked"], dtype=object)[:, None, None]
    wide = boundary(sweep(gap, [1.0, 4.0, 16.0], [0.1], 1))
    np.testing.assert_allclose([wide[name].values[0] for name in ("place", "low", "high")],
                               [4.0, 1.0, 16.0])  # fmt: skip


def test_boundary_of_a_key_that_reaches_zero_is_linear():
    dataset, _ = half_planes([0.0, 0.0, 0.0])
    found = boundary(dataset.assign_coords(init_scale=np.arange(9.0)))
    assert np.all((found["place"].values % 1) == 0.5)


# Scaling


def test_scaling_recovers_an_exact_law():
    fit = scaling_fit(textbook(offset=0.7))
    assert fit.slope == pytest.approx(1, abs=1e-12)
    assert fit.offset == pytest.approx(0.7, abs=1e-12)
    assert fit.r_squared == pytest.approx(1)
    assert (fit.clusters, fit.num_clusters) == ("seed", 3)
    num_censored = int((textbook(offset=0.7)["outcome"] != "grokked").sum())
    assert fit.num_censored == num_censored > 0
    assert fit.left_out == {"not_within_budget": num_censored}
    assert fit.num_runs + num_censored == textbook()["outcome"].size
    assert set(fit.residuals.coords) == {*KEYS, "log_against"}
    np.testing.assert_allclose(fit.residuals, 0, atol=1e-10)
    assert "weight_decay * t50 = 0.7 + 1 log init_scale" in str(fit)
    assert fit.residuals.attrs["long_name"] == "residual of weight_decay * t50"


def test_scaling_intervals_hold_the_truth_and_count_what_is_left_out():
    dataset = textbook(noise=0.1, num_seeds=6)
    dataset["outcome"][0, 0, 0] = "missing"
    dataset["outcome"][0, 1, 0] = "failed"
    fit = scaling_fit(dataset)
    assert fit.slope_interval[0] < 1 < fit.slope_interval[1]
    assert fit.offset_interval[0] < 0 < fit.offset_interval[1]
    assert (fit.left_out["missing"], fit.left_out["failed"]) == (1, 1)
    flat = scaling_fit(as_runs(dataset, np.random.default_rng(0)))
    assert flat.slope == pytest.approx(fit.slope, rel=1e-12)
    assert flat.slope_interval == pytest.approx(fit.slope_interval, rel=1e-9)
    # A change that goes on has no half time.
    dataset["t50"].values[-1, 0] = 1.0
    assert scaling_fit(dataset).slope == pytest.approx(fit.slope, rel=1e-12)


def test_scaling_intervals_are_those_over_seeds_where_all_ran_alike():
    dataset = textbook(noise=0.2, num_seeds=5).isel(weight_decay=slice(2, None))
    slopes = [scaling_fit(dataset.sel(seed=s)).slope for s in dataset["seed"].values]
    fit = scaling_fit(dataset)
    assert fit.num_censored == 0
    half = stats.t.ppf(0.975, 4) * np.std(slopes, ddof=1) / np.sqrt(5)
    expected = (np.mean(slopes) - half, np.mean(slopes) + half)
    assert fit.slope_interval == pytest.approx(expected, rel=1e-9)


def test_scaling_without_seeds_takes_runs_as_independent():
    dataset = textbook(noise=0.1).isel(weight_decay=slice(2, None), seed=0, drop=True)
    fit = scaling_fit(dataset)
    assert (fit.clusters, fit.num_clusters) == ("run", fit.num_runs)
    # Leverages and an even spread of errors: near the ordinary interval of least squares.
    x = fit.residuals["log_against"].values
    error = np.sqrt(np.sum(fit.residuals.values**2) / (len(x) - 2) / np.sum((x - x.mean()) ** 2))
    half = (fit.slope_interval[1] - fit.slope_interval[0]) / 2
    assert half == pytest.approx(stats.t.ppf(0.975, len(x) - 2) * error, rel=0.4)


def test_scaling_against_other_keys():
    dataset = textbook().assign(t_train=3 + 2 * np.log(textbook()["init_scale"]))
    dataset["t_train"] = dataset["t_train"].broadcast_like(dataset["t50"])
    fit = scaling_fit(dataset, "t_train", times=None)
    assert (fit.slope, fit.offset) == pytest.approx((2, 3))
    assert "  t_train = 3 + 2 log init_scale" in str(fit)
    assert fit.residuals.attrs["long_name"] == "residual of t_train"
    # A fitting time of a run whose test score goes on is a time like any other.
    assert fit.num_censored == 0


@pytest.mark.parametrize("balanced", [True, False])
def test_scaling_intervals_cover(balanced):
    # Few seeds, errors shared within a seed in level and slope, more of them at large α.
    rng = np.random.default_rng(11)
    num_seeds, x = 5, np.linspace(0, 1, 12)
    cluster = np.repeat(np.arange(num_seeds), len(x))
    x = np.tile(x, num_seeds)
    if not balanced:
        kept = rng.random(len(x)) < np.array([1, 1, 0.7, 0.5, 0.4])[cluster]
        cluster, x = cluster[kept], x[kept]
    design = np.stack([np.ones_like(x), x], axis=1)
    hits = np.zeros(2)
    num_trials = 600
    for _ in range(num_trials):
        level, slope = rng.normal(size=(2, num_seeds))
        errors = level[cluster] + 0.5 * slope[cluster] * x + (0.3 + x) * rng.normal(size=len(x))
        estimate, *_ = np.linalg.lstsq(design, errors, rcond=None)
        hits += np.abs(estimate) <= half_widths(design, errors - design @ estimate, cluster)
    # Three standard errors of 600 trials are 0.027; with runs for clusters the offset is at 0.72.
    assert np.all(np.abs(hits / num_trials - 0.95) < 0.03), hits / num_trials


def test_clusters_that_share_no_direction_have_no_interval():
    design = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    alone = half_widths(design, np.zeros(4), np.array([0, 0, 1, 1]))
    assert np.isnan(alone).all()


# Collapse


def curves(dataset):
    """Logistic curves from 0.5 to 1 in λ t, half-way at t50."""
    times = np.concatenate([[0.0], np.geomspace(1, 2e5, 400)])
    shape = (*dataset["t50"].shape, len(times))
    half = dataset["t50"].values[..., None]
    decay = dataset["weight_decay"].values[:, None, None]
    score = 0.5 + 0.5 / (1 + np.exp(np.clip(-(times - half) * decay * 8, -700, 700)))
    score[..., -1] = np.nan  # a run that ended early
    dims = (*KEYS, "record")
    return dataset.assign(
        time=(dims, np.broadcast_to(times, shape)),
        test_accuracy=(dims, score),
        early_test_accuracy=(KEYS, np.full(shape[:-1], 0.5)),
        late_test_accuracy=(KEYS, np.ones(shape[:-1])),
    )


def test_collapse_is_complete_for_the_exact_law():
    dataset = curves(textbook(offset=1.0))
    found = collapse(dataset)
    half = dataset["t50"].values.ravel()
    np.testing.assert_allclose(found.half, half, rtol=1e-2)
    assert found.num_runs == np.sum(np.isfinite(half))
    known = half[np.isfinite(half)]
    assert found.before == pytest.approx(np.std(known) / np.mean(known), rel=1e-2)
    assert found.after < 1e-2
    assert found.before > 0.5
    flat = collapse(as_runs(dataset))
    assert (flat.before, flat.after) == pytest.approx((found.before, found.after))
    noisy = collapse(curves(textbook(noise=0.2)))
    scaled = np.nanmean(textbook(noise=0.2)["t50"] * textbook()["weight_decay"])
    left = textbook(noise=0.2)["t50"] * DECAYS[:, None] - np.log(textbook()["init_scale"])
    assert noisy.after == pytest.approx(float(np.nanstd(left) / scaled), rel=0.02)


# Bisection

NAMES = ("immediate", "grokked")


def search(plan, truth):
    """Runs what is proposed until nothing is; the outcomes and the number of rounds."""
    known: dict[Any, dict[Any, str]] = {line: {} for line in truth}
    for rounds in range(60):
        proposed = plan.propose(known)
        assert len(set(proposed)) == len(proposed)
        if not proposed:
            return known, rounds
        for line, place in proposed:
            assert place not in known[line], "run twice"
            known[line][place] = truth[line][plan.lattice.index(place)]
    raise AssertionError("does not end")


def check(plan, truth, known):
    """Every change of side between neighbouring known places is exact or ends by name."""
    located = plan.located(known)
    for line, row in truth.items():
        at = sorted(plan.lattice.index(place) for place in known[line])
        brackets, ended = [], []
        decided = [i for i in at if row[i] in NAMES]
        for i, j in itertools.pairwise(decided):
            between = [row[k] for k in at if i < k < j]
            if row[i] != row[j] and between:
                ended.append((plan.lattice[i], plan.lattice[j], between[0]))
            elif row[i] != row[j]:
                assert j == i + 1
                brackets.append((plan.lattice[i], plan.lattice[j]))
        assert located[line] == Crossings(tuple(brackets), tuple(ended), True)
    assert plan.done(known)
    return located


@pytest.mark.parametrize("num_places", [2, 3, 10, 101, 400])
@pytest.mark.parametrize("lead", [1, 4])
def test_bisection_finds_every_boundary_of_monotone_lines(num_places, lead):
    rng = np.random.default_rng(num_places)
    lattice = tuple(np.geomspace(1, 1000, num_places).tolist())
    plan = Bisection(lattice, lead=lead)
    truth = {}
    for y in range(12):
        for seed in range(3):
            cut = int(np.clip(num_places * (y / 14 + 0.02 * rng.normal()), -3, num_places + 3))
            truth[y, seed] = [NAMES[i >= cut] for i in range(num_places)]
    known, rounds = search(plan, truth)
    located = check(plan, truth, known)
    for line, row in truth.items():
        change = [(lattice[i], lattice[i + 1]) for i in range(num_places - 1)
                  if row[i] != row[i + 1]]  # fmt: skip
        assert located[line].brackets == tuple(change)
    share = sum(map(len, known.values())) / (num_places * len(truth))
    assert rounds <= 20
    if num_places > 100:
        assert share < (0.17 if lead == 1 else 0.13), share


@pytest.mark.parametrize("seed", range(20))
def test_bisection_finds_what_the_coarse_pass_separates(seed):
    rng = np.random.default_rng(seed)
    num_places, every, lead = int(rng.integers(5, 160)), int(rng.integers(1, 20)), seed % 4 + 1
    plan = Bisection(tuple(range(num_places)), every=every, lead=lead)
    truth = {}
    for line in range(7):
        # Islands of all widths and kinds, some of them neither of the two.
        cuts = np.sort(rng.integers(0, num_places, rng.integers(0, 6)))
        kinds = rng.choice([*NAMES, *NAMES, "diverged", "failed"], len(cuts) + 1)
        truth[line] = kinds[np.searchsorted(cuts, np.arange(num_places), "right")].tolist()
    known, _ = search(plan, truth)
    located = check(plan, truth, known)
    coarse = [*range(0, num_places - 1, every), num_places - 1]
    for line in range(0, 7, lead):  # those that lead
        assert set(coarse) <= known[line].keys()
        for a, b in itertools.pairwise(coarse):
            ends = {truth[line][a], truth[line][b]}
            inside = [low for low, _ in located[line].brackets if a <= low < b]
            ended = [low for low, high, _ in located[line].ended if low < b and a < high]
            assert inside or ended or ends != set(NAMES)


def test_bisection_goes_on_from_what_a_store_holds():
    rng = np.random.default_rng(5)
    plan = Bisection(tuple(np.linspace(0, 1, 120).tolist()))
    truth = {j: [NAMES[i >= 40 + 3 * j] for i in range(120)] for j in range(9)}
    whole, _ = search(plan, truth)
    for _ in range(20):
        known = {line: {p: o for p, o in row.items() if rng.random() < 0.5}
                 for line, row in whole.items()}  # fmt: skip
        known[0][0.12345] = "grokked"  # of another lattice
        known[1][plan.lattice[7]] = "missing"
        assert plan.propose(known) == plan.propose(known)
        while proposed := plan.propose(known):
            for line, place in proposed:
                known[line][place] = truth[line][plan.lattice.index(place)]
        assert {line: c.brackets for line, c in plan.located(known).items()} == {
            line: c.brackets for line, c in plan.located(whole).items()
        }


def test_bisection_ends_a_line_by_name_and_waits_for_its_leaders():
    plan = Bisection(tuple(range(33)), every=32, lead=2)
    truth = {"a": ["immediate"] * 10 + ["diverged"] * 13 + ["grokked"] * 10}
    known, _ = search(plan, truth)
    assert plan.located(known)["a"] == Crossings((), ((0, 32, "diverged"),), True)
    assert len(known["a"]) == 3
    start: dict[str, dict[int, str]] = {"a": {}, "b": {}, "c": {}}
    assert plan.propose(start) == [("a", 0), ("a", 32), ("c", 0), ("c", 32)]
    assert not any(found.done for found in plan.located(start).values())
    # A line that shows another number of changes than its leaders gets the coarse pass.
    plan = Bisection(tuple(range(33)), every=8, lead=2)
    flat = ["grokked"] * 33
    island = ["immediate"] * 4 + ["grokked"] * 10 + ["immediate"] * 9 + ["grokked"] * 10
    known, _ = search(plan, {"a": flat, "b": island, "c": flat})
    assert plan.located(known)["b"].brackets == ((3, 4), (13, 14), (22, 23))


def test_places_that_bisection_chose_make_a_boundary():
    scales = np.geomspace(2, 400, 128)
    dataset, place = half_planes([0.0, 0.1, -0.1], scales=scales)
    plan = Bisection(tuple(scales))
    truth = {(y, seed): dataset["outcome"].values[:, y, seed].tolist()
             for y in range(5) for seed in range(3)}  # fmt: skip
    known, _ = search(plan, truth)
    rows = [(place, DECAYS[y], seed, outcome) for (y, seed), row in known.items()
            for place, outcome in row.items()]  # fmt: skip
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    few = xr.Dataset(
        {"outcome": ("run", columns[3].astype(object))},
        {key: ("run", values) for key, values in zip(KEYS, columns[:3], strict=True)},
    )
    assert few.sizes["run"] < 0.15 * dataset["outcome"].size
    found, full = boundary(few), boundary(dataset)
    for name in ("place", "low", "high", "half_width", "num_located"):
        np.testing.assert_allclose(found[name], full[name])
    assert np.all(np.abs(np.log(found["place"] / place[:, 0])) < np.log(scales[1] / scales[0]))


# Figures


def texts(figure):
    legends = [*figure.legends, *(axis.get_legend() for axis in figure.axes)]
    return " ".join(t.get_text() for legend in legends if legend for t in legend.get_texts())


def test_map_shows_every_outcome_and_no_time_that_is_not():
    dataset = textbook(num_seeds=2)
    outcome = dataset["outcome"].values
    every = np.array(OUTCOMES[:-1], dtype=object)[:, None]
    outcome[:6, -1], outcome[:6, -3] = every[:6], every[6:]
    outcome[8, -1] = "missing"
    outcome[8, -2] = ["immediate", "grokked"]
    diagram = phase_diagram(dataset)
    figure = plot_map(diagram, boundary(dataset))
    figure.canvas.draw()
    shown = texts(figure)
    for name in OUTCOMES[:-1]:
        assert name.replace("_", " ") in shown
    assert "unchanged by t = 200,000 (" in shown
    assert "not run (2)" in shown
    assert "runs disagree" in shown
    other = plot_map(diagram, delay="difference").axes[1]
    for axis, name in ((figure.axes[1], "delay"), (figure.axes[2], "t50"), (other, "lag")):
        meshes = [m for m in axis.collections if isinstance(m, QuadMesh)]
        drawn = [m for m in meshes if m.get_cmap().name == "viridis"]
        assert len(drawn) == 1
        values: Any = np.ma.masked_invalid(np.ma.asarray(drawn[0].get_array())).compressed()
        finite = diagram[name].values[np.isfinite(diagram[name].values)]
        assert sorted(values) == sorted(finite)
    with pytest.raises(lr.InputError, match=r"boundary = .*: should have the keys of the diagram"):
        plot_map(diagram, boundary(dataset, y="seed"))


def test_axes_of_maps():
    def scale(values):
        return scale_of(xr.DataArray(np.array(values), dims="x", name="x"))

    np.testing.assert_allclose(scale([1.0, 100.0]).edges(), [0.1, 10, 1000])
    np.testing.assert_allclose(scale([1.0, 10.0, 1000.0]).edges()[1:3], [10**0.5, 100])
    np.testing.assert_allclose(scale([2, 4, 6]).edges(), [1, 3, 5, 7])
    np.testing.assert_allclose(scale([0.0, 1e-3, 1e-2]).edges(), [-0.5, 0.5, 1.5, 2.5])
    np.testing.assert_allclose(scale([10.0]).edges(), [10**0.5, 10**1.5])
    assert scale(["relu", "tanh"]).position(np.array(["tanh", "x"]))[0] == 1
    names = textbook().isel(weight_decay=[0, 1]).assign_coords(weight_decay=["relu", "tanh"])
    plot_map(phase_diagram(names), boundary(names, between=("grokked", "not_within_budget")))
    untimed = plot_map(phase_diagram(sweep("untrained")))
    assert "no cell has one" in untimed.axes[1].texts[0].get_text()


def test_scaling_and_collapse_figures_state_their_numbers():
    dataset = curves(textbook(noise=0.1))
    fit = scaling_fit(dataset)
    figure = plot_scaling(fit)
    assert f"slope {fit.slope:.3f}" in texts(figure)
    assert f"{fit.num_censored} not within budget" in figure.axes[0].get_title()
    assert "3 seeds" in figure.axes[0].get_title()
    dots = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert sum(len(np.asarray(line.get_xdata())) for line in dots) == fit.num_runs
    plot_scaling(scaling_fit(dataset, times=None)).canvas.draw()
    figure = plot_collapse(dataset)
    assert f"{collapse(dataset).after:.3g}" in figure.axes[1].get_title()
    assert len(figure.axes[0].get_lines()) == dataset["outcome"].size
    with pytest.raises(lr.InputError, match="no run has this curve"):
        plot_collapse(dataset.assign(outcome=xr.full_like(dataset["outcome"], "missing")))


def test_forecasts_have_a_map_and_a_boundary():
    # It groks from 20 on; a seed of three was forecast to from 10 on, the two others from 50.
    scales = SCALES[:, None, None]
    t50 = np.where(scales > 20, 1e3 * np.log(scales), np.nan) / (DECAYS[:, None] * 1e3)
    dataset = sweep(np.where(scales > 20, "grokked", "immediate"), t50=t50, t_test=2 * t50)
    begins = np.array([10.0, 50.0, 50.0])
    expected = np.where(scales > begins, "grokked", "immediate")
    expected = np.broadcast_to(expected, dataset["outcome"].shape)
    dataset["forecast_outcome"] = (KEYS, expected.astype(object))
    ratio = np.where(DECAYS > 1e-3, 0.8, 1.05)[:, None]
    dataset["forecast_t50"] = dataset["t50"] * xr.DataArray(ratio[:, 0], dims="weight_decay")
    for runs in (dataset, as_runs(dataset, np.random.default_rng(1))):
        diagram = phase_diagram(runs)
        shown = diagram["forecast_error"].values
        wanted = np.where(SCALES > 20, np.log(ratio), np.nan)
        assert np.allclose(shown, wanted, equal_nan=True)
        assert (diagram["forecast_outcome"] == "grokked").values[0].tolist() == list(SCALES > 50)
        line = boundary(runs, of="forecast_outcome")
        above = SCALES[SCALES > 50][0]
        assert np.allclose(line["place"], np.sqrt(above * SCALES[SCALES < 50][-1]))
        assert boundary(runs)["place"].values[0] < 30
    figure = plot_map(diagram, boundary(dataset), forecast=line)
    third, errors = figure.axes[2:4]
    # Contours are at round times, where 1e3 log(scale) x ratio is them.
    lines = next(c for c in third.collections if isinstance(c, QuadContourSet))
    levels = np.exp(np.asarray(lines.levels))
    assert {f"{level:.0e}"[0] for level in levels} == {"1", "2", "5"}
    num_seen = 0
    for level, paths in zip(levels, lines.allsegs, strict=True):
        scale, decay = np.concatenate(paths).T
        on_row = np.isclose(decay[:, None], DECAYS).any(axis=1)
        there = np.log(scale) / decay * np.where(decay > 1.01e-3, 0.8, 1.05)
        assert np.allclose(there[on_row], level, rtol=0.01)
        num_seen += np.sum(on_row)
    assert num_seen > 3
    marks = {str(m.get_marker()): np.size(m.get_xdata()) for m in errors.get_lines()}
    assert marks["x"] == len(DECAYS) * np.sum((SCALES > 20) & (SCALES < 50))
    assert marks["_"] == np.sum(DECAYS > 1e-3) * np.sum(SCALES > 50)
    assert "+" not in marks
    words = [text.get_text() for text in figure.legends[0].texts]
    assert "the same as forecast" in words
    with pytest.raises(lr.InputError, match=r"forecast = .*: should have the keys of the diagram"):
        plot_map(diagram, forecast=boundary(dataset, y="seed", of="forecast_outcome"))
    with pytest.raises(
        lr.InputError, match=r"of = 'forecast_outcome': .* see lr.sweeps.forecast_runs"
    ):
        boundary(dataset.drop_vars("forecast_outcome"), of="forecast_outcome")
