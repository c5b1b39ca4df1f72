"""Parameters kept with a record: at the end and at chosen times, in memory and in files."""

import json
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich._core import room
from lazyrich._run.kept_params import KeptParams
from lazyrich.cli.settings import kept_params
from lazyrich.dynamics import Checkpoint, discrete
from tests.golden import cases
from tests.helpers import relative_error
from tests.test_parameters import exact, ridge

FEW = lr.dynamics.Times(first=0.1, num_log=4, num_linear=2)
RNG = np.random.default_rng(0)
X, T, W = RNG.normal(size=(10, 3)), RNG.normal(size=(5, 3)), np.array([1.0, -2.0, 0.5])
RATE = 0.125


def linear(**changes: Any) -> lr.Experiment:
    """Least squares of a linear function by gradient descent."""
    fields: dict[str, Any] = {
        "task": lr.tasks.Arrays(x_train=X, y_train=X @ W, x_test=T, y_test=T @ W),
        "model": lr.models.MLP(widths=(), activation="identity", bias=False),
        "loss": lr.losses.Squared(),
        "t1": 2.0,
        "times": FEW,
        "dynamics": lr.dynamics.GradientDescent(learning_rate=RATE),
        "probes": ("train_loss", "test_loss"),
    }
    return lr.Experiment(**{**fields, **changes})


FIRST: Any = np.full((1, 3), 0.25)
NO_BIAS: Any = np.zeros(0)
START = lr.models.MLPParams((FIRST,), NO_BIAS)


def by_hand(num_steps: int) -> np.ndarray:
    """Gradient descent in NumPy."""
    w = np.full(3, 0.25)
    for _ in range(num_steps):
        w = w - RATE * 2 * X.T @ (X @ w - X @ W) / len(X)
    return w


@pytest.fixture(scope="module")
def descent() -> xr.Dataset:
    # 0.6 is no whole number of steps: the nearest is 5, at 0.625.
    return lr.simulate(linear(), params=START, keep_params=[0.0, 0.6, 1.0])


def test_the_parameters_of_gradient_descent_are_those_by_hand(descent):
    assert descent["kept_time"].values.tolist() == [0.0, 0.625, 1.0]
    for time, num_steps in ((0.0, 0), (0.6, 5), (0.625, 5), (1.0, 8), (None, 16), (2.0, 16)):
        found = descent.params(time)
        assert isinstance(found, lr.models.MLPParams)
        assert {type(leaf) for leaf in jax.tree.leaves(found)} == {np.ndarray}
        np.testing.assert_allclose(found.weights[0][0], by_hand(num_steps), rtol=1e-12)
        flat = descent.params.state_dict(time)
        assert list(flat) == ["weights.0", "bias"]
        np.testing.assert_array_equal(flat["weights.0"], found.weights[0])
        same = lr.parameters(descent, linear(), time)
        assert jax.tree.all(jax.tree.map(np.array_equal, same, found))
    end = descent.params().weights[0][0]
    loss = np.mean((X @ end - X @ W) ** 2)
    assert descent["train_loss"].values[-1] == pytest.approx(loss, rel=1e-12)


def test_kept_parameters_change_nothing_else(descent):
    plain = lr.simulate(linear(), params=START)
    bare = descent.drop_vars(["final_parameters", "kept_parameters", "kept_time"])
    xr.testing.assert_identical(bare.drop_attrs(deep=False), plain.drop_attrs(deep=False))
    assert descent.attrs["experiment_hash"] == plain.attrs["experiment_hash"]


def test_a_file_keeps_them(descent, tmp_path):
    lr.save_record(descent, tmp_path / "r.nc")
    found = lr.open_record(tmp_path / "r.nc")
    xr.testing.assert_identical(found, descent)
    np.testing.assert_array_equal(found.params(1.0).weights[0], descent.params(1.0).weights[0])
    again = lr.simulate(linear(), params=found.params(), keep_params="end")
    np.testing.assert_allclose(again.params().weights[0][0], by_hand(32), rtol=1e-12)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, 'keep_params = 0: should be True or False, "end", a sequence of times'),
        (-3, "keep_params = -3: should be"),
        ("start", "keep_params = 'start': should be"),
        ([], "keep_params = .*: should be"),
        ([0.5, -1.0], "keep_params = -1.0: times should be finite, and not negative"),
        ([float("nan")], "keep_params = nan: times should be finite"),
        ([0.5, 3.0], r"keep_params = 3.0: should be at most t1 = 2"),
    ],
)
def test_what_cannot_be_kept_is_one_line(value, words, monkeypatch):
    monkeypatch.setattr(
        lr.dynamics.GradientDescent, "follow", lambda *_, **__: pytest.fail("the run began")
    )
    with pytest.raises(lr.InputError, match=words) as error:
        lr.simulate(linear(), keep_params=value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [1.5, [[1.0]], ["a"], {0.5}, None, [1.0, [2.0]]])
def test_other_types_are_one_line(value):
    # Not by simulate, whose annotation refuses them first where annotations are checked.
    with pytest.raises(lr.InputError, match=r"^keep_params = .*: should be") as error:
        KeptParams.of(value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("end", True), ("10", 10), ("1.0", [1.0]), ("2,", [2.0]), ("1,2.5e3", [1.0, 2500.0])],
)
def test_the_command_line_says_the_same(text, value):
    found = kept_params(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["", "start", "1;2", "1,,2"])
def test_other_words_of_the_command_line_are_one_line(text):
    with pytest.raises(lr.InputError, match=r"--keep-params = .*: should be end, times such as"):
        kept_params(text)


def test_memory_is_checked_before_the_run(monkeypatch):
    monkeypatch.setattr(room, "available", lambda: 10**6)
    monkeypatch.setattr(
        lr.dynamics.GradientDescent, "follow", lambda *_, **__: pytest.fail("the run began")
    )
    # Three parameters of 8 bytes at 20,000 times, three times: 1.44e6 bytes.
    with pytest.raises(lr.InputError, match=r"keep_params = 20000: takes 1.37 MiB of memory"):
        lr.simulate(linear(), keep_params=np.linspace(0, 2, 20_000))


def test_a_time_that_was_not_kept_is_named(descent):
    with pytest.raises(lr.InputError, match=r"time = 0.8: parameters were kept at 0, 0.625, 1"):
        descent.params(0.8)
    with pytest.raises(lr.InputError, match=r"record = 'parameters': should be in it"):
        xr.Dataset({"loss": ("time", [1.0])}).params()
    only_end = descent.drop_vars(["kept_parameters", "kept_time"])
    with pytest.raises(lr.InputError, match=r"time = 1.0: parameters were kept at the end"):
        only_end.params(1.0)
    with pytest.raises(lr.InputError, match="should be in it"):
        descent.drop_vars("final_parameters").params()


LAYOUT = {
    "names": ["weights.0", "bias"],
    "shapes": [[1, 3], [0]],
    "structure": {"MLPParams": [{"tuple": ["array"]}, "array", {"none": []}]},
}
DEEP = '{"names": ["a"], "shapes": [[3]], "structure": ' + '{"list": [' * 900 + '"array"'
DEEP += "]}" * 900 + "}"
HOSTILE: dict[str, Any] = {
    "no JSON": "{",
    "no table": "[]",
    "no names": {**LAYOUT, "names": None},
    "numbers as names": {**LAYOUT, "names": [1, 2]},
    "one name twice": {**LAYOUT, "names": ["a", "a"]},
    "too few names": {**LAYOUT, "names": ["a"]},
    "too large": {**LAYOUT, "shapes": [[10**9, 10**9], [0]]},
    "negative": {**LAYOUT, "shapes": [[-1, -3], [0]]},
    "no number": {**LAYOUT, "shapes": [[1, "3"], [0]]},
    "bool": {**LAYOUT, "shapes": [[True, 3], [0]]},
    "too few places": {**LAYOUT, "structure": {"tuple": ["array"]}},
    "too many places": {**LAYOUT, "structure": {"tuple": ["array"] * 3}},
    "class": {**LAYOUT, "structure": {"MLP": ["array", "array"]}},
    "code": {**LAYOUT, "structure": {"__builtins__": ["array", "array"]}},
    "other fields": {**LAYOUT, "structure": {"MLPParams": ["array", "array", *[{"none": []}] * 4]}},
    "no list": {**LAYOUT, "structure": {"tuple": "array"}},
    "no key": {**LAYOUT, "structure": {"dict": ["array", "array"]}},
    "deep": DEEP,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_layout_is_one_line(name, descent):
    layout = HOSTILE[name]
    text = layout if isinstance(layout, str) else json.dumps(layout)
    with pytest.raises(lr.InputError, match="parameter_layout") as error:
        descent.assign_attrs(parameter_layout=text).params()
    assert "\n" not in str(error.value)


def test_hostile_arrays_are_one_line(descent):
    words = descent["final_parameters"].astype(str)
    with pytest.raises(lr.InputError, match=r"final_parameters.*should be real numbers over"):
        descent.assign(final_parameters=words).params()
    turned = descent["kept_parameters"].T
    with pytest.raises(lr.InputError, match=r"kept_parameters.*should be real numbers over"):
        descent.assign(kept_parameters=turned).params(1.0)


def test_a_record_of_an_earlier_version_opens():
    record = lr.open_record(cases.RECORD)
    assert "parameter_layout" not in record.attrs
    with pytest.raises(lr.InputError, match=r"for a record of an earlier version use lr.param"):
        record.params()
    flat = np.concatenate([a.ravel() for a in lr.parameters(record, cases.SWEPT)])
    np.testing.assert_array_equal(flat, record["final_parameters"].values)


@pytest.mark.slow
def test_a_run_that_fails_keeps_what_it_reached(tmp_path):
    steps = lr.dynamics.GradientDescent(learning_rate=100.0)
    experiment = linear(dynamics=steps, t1=1e5)
    record = lr.simulate(experiment, params=START, keep_params=[0.0, 9e4])
    assert record.attrs["ending"] == "diverged"
    assert record.params.times.tolist() == [0.0]
    np.testing.assert_array_equal(record.params(0.0).weights[0], START.weights[0])
    none = lr.simulate(experiment, params=START, keep_params=[8e4, 9e4])
    assert none["kept_parameters"].shape == (0, 3)
    lr.save_record(none, tmp_path / "r.nc")
    xr.testing.assert_identical(lr.open_record(tmp_path / "r.nc"), none)


@pytest.mark.slow
def test_the_parameters_of_a_flow_are_the_exact_ones():
    experiment, times = ridge(probes=("train_loss", "test_loss")), (0.0, 0.3, 0.31, 1.1, 2.0)
    record = lr.simulate(experiment, keep_params=times)
    assert record.params.times.tolist() == list(times)
    for time in (*times, None):
        right = exact(experiment, 2.0 if time is None else time)
        for found in (record.params(time), record.params.state_dict(time)):
            assert sorted(found) == ["b", "w"]
            assert relative_error(np.append(found["b"], found["w"]), right) < 1e-5
    task: Any = experiment.task
    x, y, end = task.x_train, task.y_train, record.params()
    loss = np.mean((x @ end["w"] + end["b"] - y) ** 2)
    assert record["train_loss"].values[-1] == pytest.approx(loss, rel=1e-9)


SPARSE = lr.tasks.SparseClassification(n=6, d=8, num_test=5)
DYNAMICS: dict[str, Any] = {
    "reduced": {"dynamics": lr.dynamics.ReducedFlow(), "weight_decay": 0.5, "t1": 40.0},
    "cubic": {
        "dynamics": lr.dynamics.ReducedFlow(), "weight_decay": 0.5, "t1": 40.0,
        "model": lr.models.DiagonalLinear(depth=3),
    },
    "flow": {"dynamics": lr.dynamics.Flow(), "weight_decay": 0.1},
    "log": {"dynamics": lr.dynamics.Flow(clock="log"), "t1": 2.0},
    "momentum": {"dynamics": lr.dynamics.SGD(learning_rate=0.03, batch_size=3, momentum=0.9)},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", DYNAMICS)
def test_kept_parameters_are_those_of_the_probe(name):
    probes = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "parameters")
    fields = {"t1": 5.0, **DYNAMICS[name]}
    experiment = lr.Experiment(task=SPARSE, times=FEW, probes=probes, **fields)
    record = lr.simulate(experiment, keep_params=3)
    known = record["time"].values
    assert record.sizes["kept_time"] == 3
    assert record["kept_time"].values[0] == 0
    assert record["kept_time"].values[-1] == pytest.approx(fields["t1"], abs=0.02)
    for time, row in zip(record["kept_time"].values, record["kept_parameters"].values, strict=True):
        place = int(np.argmin(np.abs(known - time)))
        assert known[place] == pytest.approx(time, rel=1e-12)
        np.testing.assert_allclose(row, record["parameters"].values[place], rtol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cubic", "flow"])
def test_runs_of_a_batch_keep_their_own(name):
    one = lr.Experiment(task=SPARSE, times=FEW, **{"t1": 5.0, **DYNAMICS[name]})
    both = [one, one.with_changes({"seed": 1, "init_scale": 0.7})]
    for found, experiment in zip(lr.simulate_many(both, keep_params=[0.7, 3.0]), both, strict=True):
        alone = lr.simulate(experiment, keep_params=[0.7, 3.0])
        for time in (0.7, 3.0, None):
            for ours, right in zip(found.params(time), alone.params(time), strict=True):
                np.testing.assert_allclose(ours, right, rtol=1e-3)
    with pytest.raises(lr.InputError, match=r"keep_params = 4.0: should be at most t1 = 3"):
        lr.simulate_many([one, one.with_changes({"t1": 3.0})], keep_params=[4.0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["descent", "flow", "reduced"])
def test_a_continued_run_keeps_them(kind):
    kinds = {
        "descent": linear(probes=("train_loss", "test_loss")),
        "flow": linear(dynamics=lr.dynamics.Flow(rtol=1e-6)),
        "reduced": lr.Experiment(task=SPARSE, times=FEW, t1=2.0),
    }
    experiment = kinds[kind]
    record = lr.simulate(experiment, keep_params=[0.5, 1.5])
    longer = lr.extend(record, experiment, 4.0, keep_params=[3.0])
    whole = lr.simulate(experiment.with_changes({"t1": 4.0}), keep_params=[0.5, 1.5, 3.0])
    assert longer.params.times.tolist() == [0.5, 1.5, 3.0]
    for time in (0.5, 1.5, 3.0, None):
        for ours, right in zip(
            jax.tree.leaves(longer.params(time)), jax.tree.leaves(whole.params(time)), strict=True
        ):
            np.testing.assert_allclose(ours, right, rtol=1e-3, atol=1e-6)
    with pytest.raises(lr.InputError, match="should be later than 2, where the run is continued"):
        lr.extend(record, experiment, 4.0, keep_params=[1.0])


@pytest.mark.slow
def test_a_run_is_resumed_only_with_the_same_times(tmp_path, monkeypatch, descent):
    monkeypatch.setattr(discrete, "_next_chunk", lambda chunk, seconds: chunk)
    monkeypatch.setattr(discrete, "_FIRST_CHUNK", 4)
    # Saved at every chance, not every ten seconds.
    monkeypatch.setattr(Checkpoint, "offer", lambda self, state: self.save(state))
    path, calls, times = tmp_path / "checkpoint.npz", [], [0.0, 0.6, 1.0]

    def stop(stage: str, fraction: float | None, detail: str = "") -> None:
        calls.append(stage)
        if calls.count("solving the flow") > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lr.simulate(linear(), params=START, keep_params=times, listener=stop, checkpoint=path)
    assert path.exists()
    with pytest.raises(lr.InputError, match="is of another run"):
        lr.simulate(linear(), params=START, keep_params=[0.0, 0.6, 1.1], checkpoint=path)
    again = lr.simulate(linear(), params=START, keep_params=times, checkpoint=path)
    names = ["final_parameters", "kept_parameters"]
    xr.testing.assert_identical(again[names].drop_attrs(), descent[names].drop_attrs())


@pytest.mark.slow
def test_classes_of_the_user_need_the_experiment_and_float32_stays(tmp_path):
    import equinox as eqx

    module = eqx.nn.MLP(3, "scalar", 4, 1, key=jax.random.key(0))
    experiment = linear(model=lr.models.FromEquinox(module=module), precision="float32")
    lr.save_record(lr.simulate(experiment, keep_params=2), tmp_path / "r.nc")
    record = lr.open_record(tmp_path / "r.nc")
    flat = record.params.state_dict(0.0)
    assert list(flat) == [f"layers.{i}.{part}" for i in (0, 1) for part in ("weight", "bias")]
    np.testing.assert_array_equal(flat["layers.0.weight"], module.layers[0].weight)
    assert {leaf.dtype for leaf in flat.values()} == {np.dtype(np.float32)}
    with pytest.raises(lr.InputError, match="contains a class of your own"):
        record.params()
    again = lr.parameters(record, experiment, 0.0)
    np.testing.assert_array_equal(again.layers[1].bias, module.layers[1].bias)
