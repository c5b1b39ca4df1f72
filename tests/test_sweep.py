"""Sweeps as descriptions: axes, designs, hashes, and the batches that runs are put into."""

import itertools
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazyrich as lr
from lazyrich.sweeps import Sweep, batches, parse_axes, parse_box, parse_values, random, sobol


def tiny_experiment(**changes: Any) -> lr.Experiment:
    """What the tests of sweeps run: alike in shape, so that it is compiled once for all."""
    fields: dict[str, Any] = {
        "task": lr.tasks.SparseClassification(n=16, d=60, num_test=50),
        "dynamics": lr.dynamics.SGD(learning_rate=0.1),
        "weight_decay": 1e-2,
        "t1": 20.0,
        "times": lr.dynamics.Times(num_log=20, num_linear=5),
        "probes": ("train_loss", "test_loss", "train_accuracy", "test_accuracy"),
    }
    return lr.Experiment(**{**fields, **changes})


BASE = tiny_experiment()


# --- Axes. ---


def test_a_grid_numbers_its_runs_with_the_last_axis_fastest():
    over: Any = {"init_scale": [1, 10], "weight_decay": [0.1, 0.2, 0.3]}
    sweep = Sweep.over(BASE, over)
    assert sweep.shape == (2, 3)
    assert len(sweep) == 6
    expected = [
        {"init_scale": a, "weight_decay": b} for a in (1, 10) for b in (0.1, 0.2, 0.3)
    ]  # fmt: skip
    assert [sweep.changes(i) for i in range(6)] == expected
    runs = list(sweep.runs())
    assert [(run.init_scale, run.weight_decay) for run in runs] == [
        (a, b) for a in (1.0, 10.0) for b in (0.1, 0.2, 0.3)
    ]
    assert sweep.run(4) == BASE.with_changes({"init_scale": 10, "weight_decay": 0.2})


def test_zipped_keys_change_in_step():
    over: Any = {("init_scale", "t1"): [(1.0, 10.0), (3.0, 20.0)], "seed": range(2)}
    sweep = Sweep.over(BASE, over)
    assert [axis.name for axis in sweep.axes] == ["init_scale,t1", "seed"]
    found = [(run.init_scale, run.t1, run.seed) for run in sweep.runs()]
    assert found == [(1.0, 10.0, 0), (1.0, 10.0, 1), (3.0, 20.0, 0), (3.0, 20.0, 1)]
    assert sweep.axes[0].coordinate("t1").tolist() == [10.0, 20.0]


def test_values_of_numpy_become_plain_ones():
    values: Any = {"init_scale": np.array([1.0, 2.0]), "seed": np.arange(2), "t1": [np.float64(5)]}
    sweep = Sweep.over(BASE, values)
    plain: Any = {"init_scale": [1.0, 2.0], "seed": [0, 1], "t1": [5.0]}
    assert sweep == Sweep.over(BASE, plain)
    assert {type(v) for axis in sweep.axes for p in axis.points for v in p} == {int, float}


def test_descriptions_become_tables():
    models = [lr.models.DiagonalLinear(depth=2), lr.models.DiagonalLinear(depth=3)]
    sweep = Sweep.over(BASE, {"model": models})
    assert [run.model for run in sweep.runs()] == models
    assert sweep.axes[0].coordinate("model").dtype.kind == "U"


def test_a_table_comes_before_what_changes_in_it():
    # In whatever order the axes are given, and without a trace in the axes themselves.
    over: Any = {"model.depth": [2, 3], "model": [{"kind": "DiagonalLinear"}]}
    sweep = Sweep.over(BASE, over)
    before = sweep.model_copy().content_hash
    assert [run.model.table()["depth"] for run in sweep.runs()] == [2, 3]
    assert sweep.axes[1].points == (({"kind": "DiagonalLinear"},),)
    assert Sweep(experiment=BASE, axes=sweep.axes).content_hash == before
    kinds: Any = {"dynamics.rtol": [1e-4], "dynamics.kind": ["Flow"]}
    (run,) = Sweep.over(BASE, kinds).runs()
    assert run.dynamics == lr.dynamics.Flow(rtol=1e-4)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({}, "over = {}: should vary at least one key"),
        ({"seed": []}, r"over.seed = \[\]: should have at least one value"),
        ({(): [()]}, "should name at least one key"),
        ({"name": "abc"}, "over.name = 'abc': should be a sequence"),
        ({"seed": {0: 1}}, "over.seed = {0: 1}: should be a sequence"),
        ({"seed": [0, 1, 0]}, "over.seed = 0: is given twice"),
        ({("seed", "t1"): [(0, 1.0), (0, 1.0)]}, r"over.seed,t1 = \[0, 1.0\]: is given twice"),
        ({("seed", "t1"): [(0, 1.0), (1,)]}, r"over.seed,t1 = \[1\]: .*should have 2 values"),
        ({("seed", "t1"): [0]}, "over.seed,t1 = 0: .*should have 2 values"),
        ({"seed": [0], ("seed", "t1"): [(0, 1.0)]}, "over.seed = .*: is given twice"),
        ({"seed": [object()]}, "over.seed = .*: values should be numbers, words, lists or tables"),
        ({"weight_dcay": [0.1]}, r"over.weight_dcay = 0.1: .*did you mean weight_decay"),
        ({"task.m": [3]}, "over.task.m = 3: unknown key"),
        ({"weight_decay": [0.1, -1.0]}, "over.weight_decay = -1.0"),
        ({"weight_decay": [0.1, float("nan")]}, "over.weight_decay = nan"),
        ({"seed": [0.5]}, "over.seed = 0.5"),
        ({"seed": ["a"]}, "over.seed = 'a'"),
        # Each is well on its own.
        ({"task.d": [2, 60], "task.k": [1, 3]}, "over.task.k = 3: should be odd and at most d = 2"),
    ],
)
def test_what_cannot_be_swept_is_refused_in_one_line(over, message, tmp_path):
    with pytest.raises(lr.InputError, match=message) as error:
        lr.sweep(BASE, over, tmp_path / "store", workers=0)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_what_is_only_good_together_is_accepted():
    sweep = Sweep.over(BASE, {("task.d", "task.k"): [(100, 99), (60, 3)], "seed": range(2)})
    assert [run.task.table()["k"] for run in sweep.runs()] == [99, 99, 3, 3]


# --- The command line's short forms. ---


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,10", [1, 10]),
        ("0.5", [0.5]),
        ("1e-3, 2", [1e-3, 2]),
        ("log:1:1000:4", [1.0, 10.0, 100.0, 1000.0]),
        ("log:1e-2:1e-5:4", [1e-2, 1e-3, 1e-4, 1e-5]),
        ("linear:0:1:5", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("range:5", [0, 1, 2, 3, 4]),
        ("range:2:8:3", [2, 5]),
        ("MLP,DiagonalLinear", ["MLP", "DiagonalLinear"]),
        ('"a,b",c', ["a,b", "c"]),
        ("[1,2],[3,4]", [[1, 2], [3, 4]]),
        ('{kind = "A", x = 1},{kind = "B"}', [{"kind": "A", "x": 1}, {"kind": "B"}]),
        ("true,false", [True, False]),
        ("a:b", ["a:b"]),
    ],
)
def test_short_forms(text, values):
    found = parse_values("x", text)
    assert len(found) == len(values)
    for ours, theirs in zip(found, values, strict=True):
        assert type(ours) is type(theirs)
        assert ours == (pytest.approx(theirs, rel=1e-14) if type(ours) is float else theirs)
    if text.startswith("log"):  # the ends are exact
        assert (found[0], found[-1]) == (values[0], values[-1])


@pytest.mark.parametrize(
    "text",
    ["log:1:10", "log:0:10:3", "log:1:10:2.5", "log:1:inf:3", "linear:a:b:2", "linear:0:1:-1",
     "range:", "range:0.5", "range:1:2:3:4", "range:1:9:0"],
)  # fmt: skip
def test_short_forms_that_are_none(text):
    with pytest.raises(lr.InputError, match=r"x = .*should be one of log:LOW:HIGH:COUNT"):
        parse_values("x", text)


def test_options_become_axes():
    over = parse_axes(["init_scale=1,10", "seed=range:2"], ["t1=1.0,2.0", "weight_decay=0.1,0.2"])
    assert over == {
        "init_scale": [1, 10],
        "seed": [0, 1],
        ("t1", "weight_decay"): [(1.0, 0.1), (2.0, 0.2)],
    }
    for bad in (["seed"], ["=1"], ["seed="], ["seed=1", "seed=2"]):
        with pytest.raises(lr.InputError, match="--over"):
            parse_axes(bad, [])
    with pytest.raises(lr.InputError, match=r"log:LOW:HIGH:COUNT, .*\(did you mean log\?\)"):
        parse_axes(["init_scale=lg:1:100:3"], [])
    assert parse_axes(["name=a:b"], []) == {"name": ["a:b"]}
    for bad in (["t1=1.0,2.0", "seed=1"], ["t1=1.0", "t1=2.0"]):
        with pytest.raises(lr.InputError, match="--zip"):
            parse_axes([], bad)
    assert parse_box("--sobol", ["init_scale=1:100"]) == {"init_scale": (1.0, 100.0)}
    for text in ("init_scale=1", "init_scale=a:b", "init_scale"):
        with pytest.raises(lr.InputError, match=r"--sobol = .*KEY=LOW:HIGH"):
            parse_box("--sobol", [text])


# --- Designs. ---

BOX = {"init_scale": (3.0, 1000.0), "weight_decay": (1e-5, 1e-1)}


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("design", [sobol, random])
def test_designs_stay_in_their_box_and_come_again(design, log):
    over = design(BOX, 100, log=log)
    ((keys, rows),) = over.items()
    assert keys == tuple(BOX)
    assert len(rows) == 100
    assert len(set(rows)) == 100
    for column, (low, high) in zip(zip(*rows, strict=True), BOX.values(), strict=True):
        assert low <= min(column) < max(column) <= high
    assert design(BOX, 100, log=log) == over
    assert design(BOX, 100, seed=1, log=log) != over
    assert len(Sweep.over(BASE, {**over, "seed": range(2)})) == 200


@pytest.mark.parametrize("log", [True, False])
def test_sobol_is_balanced(log):
    # 2^m points: one in each of 2^m equal parts of each axis, and as many in each quarter.
    ((_, rows),) = sobol(BOX, 64, seed=3, log=log).items()
    unit = []
    for column, (low, high) in zip(zip(*rows, strict=True), BOX.values(), strict=True):
        bounds = np.log([low, high]) if log else np.array([low, high])
        values = np.log(column) if log else np.asarray(column)
        unit.append((values - bounds[0]) / (bounds[1] - bounds[0]))
    for part in unit:
        assert np.bincount((64 * part).astype(int), minlength=64).tolist() == [1] * 64
    quarters = 2 * (unit[0] >= 0.5).astype(int) + (unit[1] >= 0.5)
    assert np.bincount(quarters).tolist() == [16] * 4


def test_designs_refuse_what_is_no_box():
    for box in ({"t1": (2.0, 1.0)}, {"t1": (0.0, 1.0)}, {"t1": (1.0, np.inf)}, {}):
        for design in (sobol, random):
            with pytest.raises(lr.InputError, match="box"):
                design(box, 8)
    assert len(list(sobol({"t1": (-1.0, 1.0)}, 8, log=False)[("t1",)])) == 8
    with pytest.raises(lr.InputError, match="from 1 to"):
        sobol(BOX, 0)


# --- Hashes and files. ---

OVER: Any = {("init_scale", "t1"): [(1.0, 5.0), (0.1 + 0.2, 7.0)], "seed": [3, 2**62]}


def test_the_hash_is_of_the_content():
    sweep = Sweep.over(BASE, OVER)
    assert sweep.content_hash == Sweep.over(BASE, dict(OVER)).content_hash
    assert len(sweep.content_hash) == 64
    # Names and defaults, given or not, change nothing.
    same = BASE.with_changes({"name": "other", "loss": {"kind": "Logistic"}})
    assert Sweep.over(same, OVER).content_hash == sweep.content_hash
    others = [
        Sweep.over(BASE.with_changes({"weight_decay": 0.5}), OVER),
        Sweep.over(BASE, dict(reversed(OVER.items()))),
        Sweep.over(BASE, {**OVER, "seed": [2**62, 3]}),
        Sweep.over(BASE, {**OVER, "seed": [3]}),
        Sweep.over(BASE, OVER, batch_size=8),
    ]
    assert len({sweep.content_hash, *(other.content_hash for other in others)}) == 6


def test_toml_keeps_everything():
    name = 'quoted "λ" \\ and\nlines'
    sweep = Sweep.over(BASE.with_changes({"name": name}), OVER, batch_size=7)
    back = Sweep.from_toml(sweep.to_toml(), Path())
    assert back == sweep
    assert back.experiment.name == name
    assert back.content_hash == sweep.content_hash
    assert back.known_as == ""
    assert back.to_toml() == sweep.to_toml()
    tables = Sweep.over(BASE, {"model": [lr.models.DiagonalLinear(depth=3)], "seed": [0]})
    assert Sweep.from_toml(tables.to_toml(), Path()) == tables


def predict(params, x):
    return x @ params


def start(key, dim):
    del key
    return np.zeros(dim)


def test_a_model_of_ones_own_is_known_by_its_hash():
    own = BASE.with_changes({"model": lr.models.Functions(init_params=start, function=predict)})
    sweep = Sweep.over(own, {"seed": [0, 1]})
    back = Sweep.from_toml(sweep.to_toml(), Path())
    assert back.content_hash == sweep.content_hash == back.known_as
    assert back.to_toml().count("predict") == 1
    with pytest.raises(lr.InputError, match=r"start.*pass the experiment itself"):
        back.run(0)


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "batch_size = 3", "axes = 3\nsha256 = ''\nbatch_size = 1\nexperiment = 3",
     "sha256 = ''\nbatch_size = 1\naxes = [3]\n[experiment]"],
)  # fmt: skip
def test_what_is_no_sweep_is_refused(text):
    with pytest.raises(lr.InputError, match="sweep = 'here'"):
        Sweep.from_toml(text, Path(), "here")


# --- Batches. ---


@pytest.mark.parametrize("size", [1, 4, 5, 7, 64, 10**6])
def test_batches_are_a_partition_without_mixed_shapes(size):
    over: Any = {
        "init_scale": [1.0, 2.0, 3.0],
        "task.n": [4, 8],
        ("task.d", "task.k"): [(10, 1), (20, 3)],
        "seed": range(3),
        "weight_decay": [0.1, 0.2],
    }
    sweep = Sweep.over(BASE, over, batch_size=size)
    found = list(batches(sweep))
    assert [batch.number for batch in found] == list(range(len(found)))
    runs = np.concatenate([batch.runs for batch in found])
    assert sorted(runs.tolist()) == list(range(len(sweep)))
    for batch in found:
        experiments = [sweep.run(int(run)) for run in batch.runs]
        assert len({experiment.task for experiment in experiments}) == 1
        assert len(batch.runs) <= size
        # Six runs a seed, in each shape: whole seeds, or an even part of one.
        counts = {s: [e.seed for e in experiments].count(s) for s in range(3)}
        if size >= 6:
            assert set(counts.values()) <= {0, 6}
        else:
            assert sorted(counts.values()) == [0, 0, {1: 1, 4: 3, 5: 3}[size]]
    assert len(found) == 4 * {1: 18, 4: 6, 5: 6, 7: 3, 64: 1, 10**6: 1}[size]
    again = [batch.runs.tolist() for batch in batches(Sweep.over(BASE, over, batch_size=size))]
    assert again == [batch.runs.tolist() for batch in found]


def test_runs_of_one_seed_stand_together():
    over: Any = {"init_scale": [1.0, 2.0], "seed": range(3), "weight_decay": [0.1, 0.2]}
    sweep = Sweep.over(BASE, over, batch_size=4)
    seeds = [[sweep.run(int(run)).seed for run in batch.runs] for batch in batches(sweep)]
    assert seeds == [[0] * 4, [1] * 4, [2] * 4]
    # Among them, the order is the sweep's.
    assert next(batches(sweep)).runs.tolist() == [0, 1, 6, 7]


def test_planning_a_hundred_thousand_runs_is_quick_and_small():
    over: Any = {
        "init_scale": np.geomspace(1, 1000, 50),
        "weight_decay": np.geomspace(1e-5, 1e-2, 50),
        "seed": range(40),
    }
    # Tracing makes it several times slower, so time is taken without.
    begun = time.perf_counter()
    sweep = Sweep.over(BASE, over)
    num_batches = sum(1 for _ in batches(sweep))
    assert time.perf_counter() - begun < 2
    assert len(sweep) == 100_000
    assert num_batches == 40 * -(-2500 // 64)
    tracemalloc.start()
    Sweep.over(BASE, over)
    for _ in batches(sweep):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A few numbers a run, where its experiment would be kilobytes.
    assert peak < 100 * len(sweep)


def test_runs_are_made_as_they_are_asked_for():
    sweep = Sweep.over(BASE, {"init_scale": np.arange(1.0, 1001.0), "seed": range(1000)})
    tracemalloc.start()
    first = list(itertools.islice(sweep.runs(), 3))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [run.seed for run in first] == [0, 1, 2]
    assert peak < 10**6
