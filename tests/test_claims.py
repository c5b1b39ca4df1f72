"""Claims held against made-up sweeps whose answer is known."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import lazyrich as lr
from lazyrich.claims.resample import bootstrap, median, sign_change, spearman
from lazyrich.studies._result import compare

SCALES, SEEDS = np.array([1.0, 10.0, 100.0]), np.arange(3)


def runs(t50=None, outcome="grokked", seeds=SEEDS, scales=SCALES, **others):
    """A sweep's dataset over scales and seeds; t50 is 100 alpha^0.5, seeds 2 % apart."""
    keys = ("init_scale", "seed")
    if t50 is None:
        t50 = 100 * scales[:, None] ** 0.5 * (1 + 0.02 * seeds)
    shape = np.shape(t50)
    variables = {"t50": (keys, t50), "outcome": (keys, np.full(shape, outcome, dtype="U20"))}
    variables |= {name: (keys, np.broadcast_to(v, shape)) for name, v in others.items()}
    attrs = {"experiment": "weight_decay = 1e-3\nt1 = 1e4\n"}
    return xr.Dataset(variables, {"init_scale": scales, "seed": seeds}, attrs)


def parts(*tables):
    return tuple(lr.experiments.PublishedAt(**table) for table in tables)


def claim(kind, **fields):
    plain = ("equals", "at_least", "at_most", "share_above")
    along = {"along": "init_scale"} if kind not in plain else {}
    table = {"text": "it does", "quantity": "t50", "kind": kind, **along, **fields}
    return lr.claims.AbstractClaim.from_table(table, "claim")


def test_order():
    result = claim("increases").check(runs())
    assert result.holds == "yes"
    assert (result.estimate, result.low, result.high) == pytest.approx((1, 1, 1))
    assert "medians 102, 322.6, 1020 at 1, 10, 100" in result.ours
    assert "Spearman" in result.how
    assert "mean over runs that differ in it alone" in result.how
    assert "over seeds" in result.how
    assert claim("decreases").check(runs()).holds == "no"
    # Seeds that disagree leave room for both: rank correlations 1, -1, 0.5.
    mixed = np.array([[1.0, 3.0, 1.0], [2.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    result = claim("increases").check(runs(mixed))
    assert result.holds == "cannot say"
    assert result.estimate == pytest.approx(0.5 / 3)
    # A stronger order than there is: 0.5 in every seed.
    weak = np.repeat([[1.0], [3.0], [2.0]], 3, axis=1)
    assert claim("increases").check(runs(weak)).holds == "yes"
    assert claim("increases", value=0.6).check(runs(weak)).holds == "no"
    # Lines of another key than the seed.
    decays = claim("increases").check(runs().rename(seed="weight_decay"))
    assert decays.holds == "yes"
    assert "over lines" in decays.how


def test_seeds_in_step_with_another_key_are_seeds():
    data = runs().rename(seed="seed,dynamics.seed")
    coords = dict.fromkeys(("seed", "dynamics.seed"), ("seed,dynamics.seed", SEEDS))
    data = data.drop_vars("seed,dynamics.seed").assign_coords(coords)
    result = claim("power_law", value=0.5).check(data)
    assert result.holds == "yes"
    assert "over seeds" in result.how
    assert "9 runs of 3 seeds" in result.ours
    assert "mean over runs" in claim("increases").check(data).how


def test_an_order_of_few_runs_says_nothing():
    alone = runs(seeds=np.array([0]))
    result = claim("increases").check(alone)
    assert result.holds == "cannot say"
    assert result.estimate == pytest.approx(1)
    assert "by chance has 0.17" in result.ours
    # Five in a row: one in 120, and its interval is over runs.
    five = runs(seeds=np.array([0]), scales=np.geomspace(1, 100, 5))
    result = claim("increases").check(five)
    assert result.holds == "yes"
    assert "over runs" in result.how
    # Two seeds in the same order: one in 36.
    assert claim("increases").check(runs(seeds=np.arange(2))).holds == "yes"
    flat = claim("increases").check(runs(np.full((3, 3), 7.0)))
    assert flat.holds == "cannot say"


def test_what_never_came_is_the_last_and_is_counted():
    late = runs()
    late["t50"][2] = np.nan
    late["outcome"][2] = "not_within_budget"
    result = claim("increases").check(late)
    assert (result.holds, result.num_never, result.num_left_out) == ("yes", 3, 0)
    assert "never at 1, 10, 100" in result.ours
    assert "3 never" in result.ours
    # Dropped, they would leave this order standing.
    wrong = runs()
    wrong["t50"][0] = np.nan
    wrong["outcome"][0] = "untrained"
    assert claim("increases").check(wrong).holds != "yes"
    # No slope can take them in.
    law = claim("power_law", value=0.5).check(late)
    assert law.holds == "cannot say"
    assert "did not come" in law.ours
    # A run that diverged has no time, late or early.
    lost = runs()
    lost["outcome"][1] = "diverged"
    result = claim("increases").check(lost)
    assert (result.holds, result.num_left_out) == ("cannot say", 3)


def test_laws():
    result = claim("power_law", value=0.5, tolerance=0.05).check(runs())
    assert result.holds == "yes"
    assert result.estimate == pytest.approx(0.5, abs=1e-9)
    # Each seed's own slope and the t interval over them.
    rng = np.random.default_rng(0)
    noisy = 100 * SCALES[:, None] ** 0.5 * np.exp(0.05 * rng.normal(size=(3, 3)))
    result = claim("power_law", value=0.5, tolerance=0.2).check(runs(noisy))
    slopes = [np.polyfit(np.log(SCALES), np.log(noisy[:, s]), 1)[0] for s in range(3)]
    width = stats.t.ppf(0.975, 2) * np.std(slopes, ddof=1) / np.sqrt(3)
    assert result.estimate == pytest.approx(np.mean(slopes))
    assert result.high - result.estimate == pytest.approx(width)
    assert claim("power_law", value=2.0).check(runs(noisy)).holds == "no"
    edge = claim("power_law", value=result.high, tolerance=0.01)
    assert edge.check(runs(noisy)).holds == "cannot say"
    # weight_decay * t50 = 1 log(alpha) + 2
    t50 = 1e3 * (np.log(SCALES)[:, None] + 2 + 0.01 * SEEDS)
    law = claim("log_law", quantity="weight_decay * t50", value=1.0, tolerance=0.01)
    assert law.check(runs(t50)).holds == "yes"


def test_levels():
    where = {"init_scale": 10.0}
    at_ten = claim("equals", value=320.0, where=where)
    result = at_ten.check(runs())
    low, middle, high = 1e2 * 10**0.5 * np.array([1, 1.02, 1.04])
    assert (result.low, result.estimate, result.high) == pytest.approx((low, middle, high))
    assert result.holds == "yes"
    assert claim("equals", value=600.0, where=where).check(runs()).holds == "no"
    close = claim("equals", value=320.0, tolerance=0.02, where=where)
    assert close.check(runs()).holds == "cannot say"
    assert claim("at_least", value=300.0, where=where).check(runs()).holds == "yes"
    assert claim("at_most", value=300.0, where=where).check(runs()).holds == "no"
    few = claim("at_least", value=0.0, where={**where, "seed": [0, 1]})
    assert few.check(runs()).holds == "cannot say"
    assert few.model_copy(update={"min_runs": 2}).check(runs()).holds == "yes"
    one = claim("at_least", value=0.0, min_runs=1, where={**where, "seed": 0}).check(runs())
    assert one.ours.endswith("; 1 run")
    never = runs(np.full((3, 3), np.nan), "not_within_budget")
    assert claim("at_most", value=1e3).check(never).holds == "no"
    assert claim("at_least", value=1e3).check(never).holds == "yes"
    # Nor is it of a delay after what did not come.
    for quantity in ("t50 / t_train", "t50 - t_train"):
        untold = runs(np.full((3, 3), np.nan), "untrained", t_train=np.full((3, 3), np.nan))
        result = claim("at_least", quantity=quantity, value=2.0).check(untold)
        assert (result.holds, result.num_left_out) == ("cannot say", 9)
        fitted = runs(np.full((3, 3), np.nan), "not_within_budget", t_train=np.full((3, 3), 5.0))
        assert result.claim.check(fitted).holds == "yes"
    # Beyond the horizon of 1e4 nothing is known.
    assert claim("at_least", value=1e5).check(never).holds == "cannot say"
    assert claim("at_most", value=1e5).check(never).holds == "cannot say"


def test_outcomes():
    some = runs()
    some["outcome"][0, 0] = "immediate"
    every = lr.claims.Outcomes(text="it groks", value="grokked")
    result = every.check(some)
    assert result.holds == "no"
    assert "8 of 9" in result.ours
    assert "1 immediate" in result.ours
    low, high = stats.binomtest(8, 9).proportion_ci()
    assert (result.low, result.high) == pytest.approx((low, high))
    most = every.model_copy(update={"share": 0.8})
    assert most.check(some).holds == "yes"
    either = every.model_copy(update={"value": ("grokked", "immediate")})
    assert either.check(some).holds == "yes"
    two = every.model_copy(update={"where": {"init_scale": 100.0, "seed": [0, 1]}})
    assert two.check(some).holds == "cannot say"
    one = every.model_copy(update={"where": {"init_scale": 1.0, "seed": 0}})
    assert one.check(some).holds == "no"  # immediate
    rarely = one.model_copy(update={"share": 0.1})
    assert rarely.check(some).holds == "cannot say"
    some["outcome"][1, 1] = "missing"
    assert either.check(some).holds == "cannot say"


def test_shares():
    # Eight of nine runs above 1; without a number one is left out, and of the rest all are.
    right = np.ones((3, 3)) * 2
    right[1, 1] = 0.5
    result = claim("share_above", quantity="right", value=1).check(runs(right=right))
    assert (result.holds, result.num_runs) == ("no", 9)
    interval = stats.binomtest(8, 9).proportion_ci(0.95, "exact")
    assert (result.estimate, result.low, result.high) == pytest.approx((8 / 9, *interval))
    most = claim("share_above", quantity="right", value=1, share=0.8)
    assert most.check(runs(right=right)).holds == "yes"
    assert claim("share_above", quantity="right").check(runs(right=right)).holds == "yes"
    right[0], right[1, 1] = np.nan, np.nan
    result = claim("share_above", quantity="right", value=1).check(runs(right=right))
    assert (result.holds, result.num_runs, result.num_left_out) == ("yes", 5, 4)
    right[1:, :2] = np.nan
    result = claim("share_above", quantity="right").check(runs(right=right))
    assert result.holds == "cannot say"
    assert "2 of 3 runs needed" in result.ours


def holds_of(t50, kind, **fields):
    """What a claim holds in runs at init_scale 1 whose t50 are all the same."""
    data = runs(np.full((1, 3), t50), scales=SCALES[:1])
    result = claim(kind, **fields).check(data)
    assert (result.estimate, result.low, result.high) == pytest.approx((t50, t50, t50))
    return result.holds


def test_bands_end_where_they_say():
    # A ratio of 1.1 is the default: 110 is 10 % above 100 and 10 % below 121.
    for value, word in ((99.9, "no"), (100.1, "yes"), (120.9, "yes"), (121.1, "no")):
        assert holds_of(110.0, "equals", value=value) == word, value
    for value, word in ((-99.9, "no"), (-100.1, "yes"), (-120.9, "yes"), (-121.1, "no")):
        assert holds_of(-110.0, "equals", value=value) == word, value
    for t50, word in ((0.19, "yes"), (-0.19, "yes"), (0.21, "no"), (-0.21, "no")):
        assert holds_of(t50, "equals", value=0.0, tolerance=0.2) == word, t50
    assert [holds_of(5.0, "at_least", value=v) for v in (4.99, 5.0, 5.01)] == ["yes", "yes", "no"]
    assert [holds_of(5.0, "at_most", value=v) for v in (4.99, 5.0, 5.01)] == ["no", "yes", "yes"]
    # Slopes of exactly 0.5, within 0.1 by default.
    exact = runs(100 * np.repeat(SCALES[:, None], 3, axis=1) ** 0.5)
    for value, word in ((0.39, "no"), (0.41, "yes"), (0.59, "yes"), (0.61, "no")):
        result = claim("power_law", value=value).check(exact)
        assert result.holds == word, value
        assert result.how.startswith("slope of log t50 against log init_scale, 95 % interval")
    words = {"equals": "300 ± 10 %", "at_least": "≥ 300", "at_most": "≤ 300"}
    for kind, text in words.items():
        assert claim(kind, value=300.0).check(exact).published == text
    assert claim("power_law", value=0.5).check(exact).published == "0.5 ± 0.1"


def test_a_fifth_of_the_runs_may_be_left_out():
    # Five of 25 runs are not too many, five of 24 are.
    for num, word in ((25, "yes"), (24, "cannot say")):
        t50 = np.full((num, 1), 7.0)
        t50[:5] = np.nan
        data = runs(t50, "failed", seeds=np.arange(1), scales=np.arange(1.0, num + 1))
        data["outcome"][5:] = "grokked"
        result = claim("at_most", value=8.0).check(data)
        assert (result.holds, result.num_left_out) == (word, 5)
        assert ("too many runs without it" in result.ours) is (word != "yes")
    # The same of lines that keep their sign.
    turns = np.array([5.0] * 16 + [1e9] * 4)
    for num, word in ((20, "yes"), (19, "cannot say")):
        score = -np.log(SCALES[:, None] / turns[-num:])
        data = runs(score=score, seeds=np.arange(num), t50=np.full((3, num), 1.0))
        result = claim("changes_sign", quantity="score", value=5.0).check(data)
        assert (result.holds, result.estimate) == (word, pytest.approx(5))
        assert f"{num - 4} of {num} lines" in result.ours
        assert ("too many lines keep their sign" in result.ours) is (word != "yes")


def test_medians_are_shown_of_at_most_six_values():
    for num in (6, 7):
        scales = np.arange(1.0, num + 1)
        result = claim("increases").check(runs(scales=scales))
        assert ("; medians 102, " in result.ours) is (num == 6)
    assert "never" in claim("increases").check(runs(np.full((3, 3), np.nan), "untrained")).ours
    data = runs()
    every = lr.claims.Outcomes(text="it groks", value="grokked")
    assert every.check(data).published == "all grokked"
    assert every.model_copy(update={"share": 0.8}).check(data).published == "at least 80 % grokked"


def test_the_sign_of_a_mean_and_the_middle_in_logarithms():
    # Values at one place are averaged: -1 and 3 are 1, as far above zero as -1 is below.
    x, y = np.array([1.0, 100.0, 100.0]), np.array([-1.0, -1.0, 3.0])
    assert sign_change(x, y) == pytest.approx(10)
    assert sign_change(x, np.array([-1.0, 0.0, 6.0])) == pytest.approx(100**0.25)
    data = runs(score=-np.log(SCALES[:, None] / 5) * np.ones(3))
    shifted = data.assign_coords(init_scale=[0.0, 1.0, 2.0])
    with pytest.raises(lr.InputError, match=r"along = 'init_scale': should be .* are positive"):
        claim("changes_sign", quantity="score", value=5.0).check(shifted)


def test_changes_of_sign():
    # Straight lines over log alpha through zero at 4, 5 and 6, and at twice that.
    turns = np.array([4.0, 5.0, 6.0])
    score = -np.log(SCALES[:, None] / turns)
    later = 3 * np.log(SCALES[:, None] / (2 * turns))
    data = runs(score=score, later=later)
    at = claim("changes_sign", quantity="score", value=5, tolerance=0.3)
    result = at.check(data)
    assert (result.estimate, result.low, result.high) == pytest.approx((5, 4, 6))
    assert result.holds == "yes"
    assert "3 of 3 lines" in result.ours
    assert "bootstrap interval over seeds" in result.how
    decays = at.check(data.rename(seed="weight_decay"))
    assert "bootstrap interval over lines" in decays.how
    assert at.model_copy(update={"value": 10.0}).check(data).holds == "no"
    assert at.model_copy(update={"tolerance": 0.1}).check(data).holds == "cannot say"
    # Seed by seed the one turns at half of where the other does, exactly.
    ratio = at.model_copy(update={"beside": "later", "value": 0.5, "tolerance": 0.01})
    result = ratio.check(data)
    assert (result.estimate, result.low, result.high) == pytest.approx((0.5, 0.5, 0.5))
    assert result.holds == "yes"
    score[:, 0] = 1.0  # a line that keeps its sign
    result = at.check(runs(score=score))
    assert result.holds == "cannot say"
    assert "2 of 3 lines needed" in result.ours
    # There, back and there again: the middle of the first place and the last.
    x = np.array([1.0, 10.0, 100.0, 1000.0])
    assert sign_change(x, np.array([-1.0, 1.0, -1.0, 1.0])) == pytest.approx(10**1.5)
    assert np.isnan(sign_change(x, np.ones(4)))


def test_quantities():
    curve = np.stack([np.linspace(0, 1, 5), np.r_[0.5, 0.9, 0.2, np.nan, np.nan]])
    data = runs(scales=SCALES[:2], t_train=10.0, late_test_loss=np.array([[1.0], [3.0]]))
    keys = ("init_scale", "seed", "record")
    data["test_accuracy"] = (keys, np.repeat(curve[:, None], 3, axis=1))

    def at(quantity, value, scale=10.0):
        fields = {"quantity": quantity, "value": value, "tolerance": 1e-9}
        return claim("equals", where={"init_scale": scale}, **fields).check(data).holds

    assert at("late.test_loss", 3.0) == "yes"
    assert at("max.test_accuracy", 0.9) == "yes"
    assert at("min.test_accuracy", 0.2) == "yes"
    assert at("first.test_accuracy", 0.5) == "yes"
    assert at("init_scale * weight_decay", 0.01) == "yes"
    assert at("1 - max.test_accuracy", 0.1) == "yes"
    assert at("t50 / t_train", 10.2, scale=1.0) == "cannot say"  # 10, 10.2, 10.4
    assert at("t50 / t_train", 11.0, scale=1.0) == "no"
    with pytest.raises(lr.InputError, match="'nothing' should be a number of the runs"):
        at("nothing", 1.0)
    with pytest.raises(lr.InputError, match="should be a name, or two"):
        at("t50/t_train + 1 + 2", 1.0)
    with pytest.raises(lr.InputError, match="should hold for some of the runs"):
        at("t50", 1.0, scale=3.0)


def test_times_of_curves():
    # A distance that begins at one, is least at time 1e-2 and ends at 0.8; linear in log time.
    times = np.r_[0.0, np.geomspace(1e-4, 1e4, 9), np.nan]
    distance = np.r_[1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.2, 0.6, 0.8, 0.8, np.nan]
    cosine = np.r_[np.nan, 1 - distance[1:]]
    keys, three = ("init_scale", "seed", "record"), (3, 3, len(times))
    data = runs()
    for name, curve in (("time", times), ("distance", distance), ("cosine", cosine)):
        data[name] = (keys, np.broadcast_to(curve, three))

    def at(quantity):
        return claim("equals", quantity=quantity, value=1.0).check(data).estimate

    assert at("when_min.distance") == at("when_max.cosine") == pytest.approx(1e-2)
    assert at("t50.distance") == pytest.approx(10**1.5)  # half way to 0.8
    assert at("t50.cosine") == pytest.approx(10**1.5)
    assert at("t10.distance") == pytest.approx(10**0.4)
    assert at("t90.distance / 2") == pytest.approx(0.5 * 10**2.6)
    assert at("t50.distance - t50") == pytest.approx(10**1.5 - 102 * 10**0.5)
    data["cosine"] = (keys, np.full(three, np.nan))
    assert np.isnan(at("t50.cosine"))


def over_losses():
    """t50 of three losses, swept as tables, and three seeds: hinge 1.5 times the logistic's."""
    names = ('{"kind": "Logistic"}', '{"kind": "Hinge", "width": 0.1}', '{"kind": "Squared"}')
    t50 = np.array([[1.0], [1.5], [4.0]]) * np.array([10.0, 20.0, 50.0])
    keys = ("loss", "seed")
    variables = {"t50": (keys, t50), "outcome": (keys, np.full((3, 3), "grokked", dtype="U20"))}
    attrs = {"experiment": 'weight_decay = 1e-3\nt1 = 1e4\n[loss]\nkind = "Squared"\n'}
    return xr.Dataset(variables, {"loss": list(names), "seed": SEEDS}, attrs)


def test_runs_beside_their_like():
    data, hinge = over_losses(), {"loss.kind": "Hinge"}
    fields = {"where": hinge, "against": {"loss.kind": "Logistic"}}
    result = claim("equals", value=1.5, tolerance=1e-9, **fields).check(data)
    assert (result.holds, result.num_runs, result.low, result.high) == ("yes", 3, 1.5, 1.5)
    assert "t50 over that at loss.kind = Logistic" in result.how
    less = claim("equals", value=10.0, compared="difference", **fields)
    assert less.check(data).estimate == 10.0  # of 5, 10 and 25
    assert "t50 less that at" in less.check(data).how
    # Each seed at ten beside the same seed at one, whatever the order of the keys' names.
    for key in ("init_scale", "seed_scale"):
        named = runs().rename(init_scale=key)
        root = claim("equals", value=10**0.5, tolerance=1e-9, where={key: 10.0}, against={key: 1.0})
        result = root.check(named)
        assert (result.holds, result.num_runs) == ("yes", 3)
    # A partner that never came says nothing; a run that never came is later.
    late = over_losses()
    late["t50"][0, 0] = late["t50"][1, 1] = np.nan
    late["outcome"][0, 0] = late["outcome"][1, 1] = "not_within_budget"
    result = claim("at_least", value=1.4, min_runs=1, **fields).check(late)
    assert (result.num_runs, result.num_never, result.num_left_out) == (2, 1, 1)
    with pytest.raises(lr.InputError, match="several differ in other keys"):
        claim("equals", value=1.0, against={"seed": [0, 1]}).check(data)


def test_keys_inside_of_tables_that_are_swept():
    data = over_losses()

    def count(where):
        return claim("at_least", value=0.0, min_runs=1, where=where).check(data).num_runs

    # Not the kind of the experiment that was varied, which none of these runs need have.
    assert count({"loss.kind": "Logistic"}) == 3
    assert count({"loss.kind": ["Hinge", "Logistic"], "seed": 1}) == 2
    assert count({"loss": {"kind": "Hinge", "width": 0.1}}) == 3
    with pytest.raises(lr.InputError, match="should hold for some of the runs"):
        count({"loss.kind": "Exponential"})
    # What has no width is not chosen by one; what none has is a mistake, and so is what some lack
    # where a number is asked for.
    assert count({"loss.width": 0.1}) == 3
    with pytest.raises(
        lr.InputError, match=r"loss.breadth.*should be a key of every swept table loss"
    ):
        count({"loss.breadth": 0.1})
    with pytest.raises(
        lr.InputError, match=r"along = 'loss.width': should be a key of every swept table"
    ):
        claim("power_law", value=1.0, along="loss.width").check(data)


def test_along_a_key_inside_of_tables():
    # Times go with the rate, and with momentum all come a hundred times as early.
    rated = [(m, r) for m in (0.0, 0.9) for r in SCALES]
    tables: list[dict[str, Any]] = [{"kind": "ReducedFlow"}]
    tables += [{"kind": "SGD", "momentum": m, "learning_rate": r} for m, r in rated]
    rates = np.array([1.0, *SCALES, *SCALES]) * np.array([1.0] * 4 + [0.01] * 3)
    keys, seeds = ("dynamics", "seed"), np.array([1.0, 1.1, 1.2])
    variables = {
        "t50": (keys, rates[:, None] * seeds),
        "outcome": (keys, np.full((7, 3), "grokked", dtype="U20")),
    }
    names = [json.dumps(table) for table in tables]
    data = xr.Dataset(variables, {"dynamics": names, "seed": SEEDS}, {"experiment": ""})
    along, sgd = "dynamics.learning_rate", {"dynamics.kind": "SGD"}
    result = claim("increases", along=along, where=sgd).check(data)
    assert (result.estimate, result.low) == pytest.approx((1.0, 1.0))
    heavy = {"dynamics.momentum": 0.9}
    result = claim("power_law", value=1.0, along=along, where=heavy).check(data)
    assert result.estimate == pytest.approx(1.0)
    assert result.num_runs == 9
    light, at = {"dynamics.momentum": 0.0, along: 10.0}, {**heavy, along: 10.0}
    result = claim("equals", value=0.01, against=light, where=at).check(data)
    assert result.estimate == pytest.approx(0.01)
    assert result.holds == "yes"


def test_claims_that_make_no_sense_are_refused():
    refused: dict[str, dict[str, Any]] = {
        "along = None: missing; increases needs it": {"kind": "increases", "quantity": "t50"},
        "along = 'seed': unknown key; accepted are": {
            "kind": "equals", "quantity": "t50", "value": 1.0, "along": "seed"
        },
        "value = None: missing; at_least needs it": {"kind": "at_least", "quantity": "t50"},
        "should be among grokked, misgrokked": {"kind": "outcomes", "value": ["groks"]},
        "quantity = None: missing; at_most needs it": {"kind": "at_most", "value": 1.0},
        "quantity = 'outcome': should be a number": {
            "kind": "at_most", "value": 1.0, "quantity": "outcome"
        },
        "quantity = 'a b': should be a name, or two": {
            "kind": "at_most", "value": 1.0, "quantity": "a b"
        },
        "beside = 't10': unknown key": {
            "kind": "at_most", "value": 1.0, "quantity": "t50", "beside": "t10"
        },
        r"value = 0\.0: should be greater than 0": {
            "kind": "changes_sign", "value": 0.0, "quantity": "t50", "along": "seed"
        },
        "beside = 'a b': should be a name, or two": {
            "kind": "changes_sign", "value": 1.0, "quantity": "t50", "along": "seed",
            "beside": "a b",
        },
        r"claim\.kind = 'likes': should be one of at_least, at_most": {"kind": "likes"},
        "against = .*: unknown key": {
            "kind": "outcomes", "value": "grokked", "against": {"seed": 1}
        },
        "against = .*: should be left out with beside": {
            "kind": "changes_sign", "value": 1.0, "quantity": "t50", "along": "seed",
            "beside": "t10", "against": {"seed": 1},
        },
    }  # fmt: skip
    for message, table in refused.items():
        with pytest.raises(lr.InputError, match=message):
            lr.claims.AbstractClaim.from_table({"text": "it does", **table}, "claim")


def test_every_kind_has_a_name_in_files():
    named = [
        "at_least", "at_most", "changes_sign", "decreases", "equals", "increases", "log_law",
        "outcomes", "power_law", "share_above",
    ]  # fmt: skip
    kinds = lr.claims.AbstractClaim.kinds
    assert {name: kind.__name__ for name, kind in kinds.items() if name in named} == {
        name: "".join(word.title() for word in name.split("_")) for name in named
    }
    again = lr.claims.LogLaw(text="a law", quantity="t50", along="init_scale", value=1.0).table()
    assert again["kind"] == "log_law"
    assert lr.claims.AbstractClaim.from_table(again, "claim").table() == again


def test_ranks_and_samples():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 5, size=30) * 1.0, rng.normal(size=30)
    y[:4] = np.inf
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    # An order needs changes on both sides.
    flat, rising = np.ones(4), np.arange(4.0)
    assert np.isnan([spearman(flat, rising), spearman(rising, flat)]).all()
    assert spearman(rising, rising**2) == 1
    assert median(np.array([1.0, np.inf, np.inf])) == np.inf
    # The standard error of a mean, over runs and over two clusters that each agree with themselves.
    values = rng.normal(size=400)
    low, high = bootstrap(lambda rows: float(np.mean(values[rows])), np.arange(400))
    assert high - low == pytest.approx(2 * 1.96 * np.std(values) / 20, rel=0.1)
    # The 2.5 and 97.5 % quantiles of a thousand values 0, 1, ... by rank.
    count = itertools.count()
    assert bootstrap(lambda rows: float(next(count)), np.arange(3)) == (25.0, 974.0)
    halves = np.repeat([0.0, 1.0], 200)
    assert bootstrap(lambda rows: float(np.mean(halves[rows])), halves) == (0.0, 1.0)


def test_published_numbers_at_coordinates():
    part = {"where": {"init_scale": 10.0}, "numbers": {"t50": 300.0, "late.test_loss": 2.0}}
    never = {"where": {"init_scale": 100.0}, "numbers": {"t50": 1000.0}}
    absent = {"where": {"init_scale": 5.0}, "numbers": {"t50": 1.0}}
    published = lr.experiments.Published(
        source="s", numbers={"t50": 1.0}, at=parts(part, never, absent)
    )
    data = runs()
    data["t50"][2, 1:] = np.nan
    data["outcome"][2, 1:] = "not_within_budget"
    every, ten, loss, hundred = compare(published, data)
    assert (every.where, every.num_runs, every.num_never) == ("", 9, 2)
    assert (ten.where, ten.num_runs) == ("init_scale = 10", 3)
    assert ten.median == pytest.approx(102 * 10**0.5)
    assert ten.ratio == pytest.approx(102 * 10**0.5 / 300)
    assert ten.agrees
    assert np.isnan(loss.median)
    # Two of three never came: no median, but the one that came is shown.
    assert (np.isnan(hundred.median), hundred.low, hundred.num_never) == (True, 1000.0, 2)
    assert not hundred.agrees
    again = lr.experiments.Published(**published.table())
    assert again == published
    with pytest.raises(lr.InputError, match=r"at\.where = None: missing"):
        lr.experiments.Published(source="s", at=[{"numbers": {}}])  # type: ignore[arg-type]


def test_the_numbers_of_one_run():
    tables = [{"where": {"init_scale": [5.0, 10.0]}, "numbers": {"t50": 3.0}},
              {"where": {"init_scale": 100.0}, "numbers": {"t10": 4.0}}]  # fmt: skip
    published = lr.experiments.Published(source="s", numbers={"t90": 9.0}, at=parts(*tables))
    experiment = lr.Experiment(task=lr.tasks.SparseClassification(), init_scale=10.0)
    assert published.numbers_of(experiment.value) == {"t90": 9.0, "t50": 3.0}


def test_other_thresholds_without_other_runs():
    times = np.r_[0.0, np.geomspace(1, 1e4, 50)]
    score = 0.5 + 0.4 / (1 + (300 / np.maximum(times, 1e-9)) ** 4)  # ends at 0.9
    loss = np.where(times > 2, 0.01, 1.0)
    curves = {"test_accuracy": score, "train_accuracy": 1 - 0.5 * (times < 2),
              "train_loss": loss, "test_loss": 1 - score}  # fmt: skip
    record = {name: (("seed", "record"), v[None]) for name, v in {"time": times, **curves}.items()}
    numbers = {n: ("seed", [np.nan]) for n in ("t_train", "t_test", "t50", "late_test_accuracy")}
    words = {"outcome": ("seed", ["not_within_budget"]), "ending": ("seed", ["completed"])}
    data = xr.Dataset({**record, **numbers, **words}, {"seed": [0]})
    assert lr.records.reclassify(data, lr.Thresholds())["outcome"].item() == "grokked"
    assert lr.records.reclassify(data, lr.Thresholds(delay=1000.0))["outcome"].item() == "gradual"
    lower = lr.records.reclassify(data, lr.Thresholds(test=0.8))
    assert lower["outcome"].item() == "grokked"
    assert lower["t50"].item() == pytest.approx(300, rel=0.05)
    assert lower["late_test_accuracy"].item() == pytest.approx(0.9, abs=1e-3)
    assert data["outcome"].item() == "not_within_budget"
    with pytest.raises(lr.InputError, match="should be read with its curves"):
        lr.records.reclassify(data.drop_vars("time"), lr.Thresholds())
