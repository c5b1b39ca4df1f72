"""Records of runs that go on, as a watcher sees them."""

import functools
import time
from typing import Any

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich._integrate.checkpoint import Checkpoint
from lazyrich._run import (
    prepared as _prepared,
    probes_after_solve as _after,
    simulate as _simulate,
    watching as _watching,
)
from lazyrich.dynamics import AbstractDynamics
from lazyrich.probes import AbstractProbe
from tests.helpers import assert_same_record, built_in, compilations, normal
from tests.test_together import Frozen

ROWS: dict[str, Any] = {
    "reduced": lr.dynamics.ReducedFlow(rtol=1e-8),
    "rosenbrock": lr.dynamics.Flow(rtol=1e-5),
    "tsit5": lr.dynamics.Flow(rtol=1e-8, method="tsit5"),
    "limit": lr.dynamics.SmallDecayLimit(),
    "rock2": lr.dynamics.Flow(rtol=1e-6, method="rock2"),
    "kvaerno5": lr.dynamics.Flow(rtol=1e-6, method=diffrax.Kvaerno5()),
    "log": lr.dynamics.Flow(clock="log"),
    "descent": lr.dynamics.GradientDescent(),
    "sgd": lr.dynamics.SGD(batch_size=2, momentum=0.9),
    "adam": lr.dynamics.Adam(batch_size=4),
    "adamw": lr.dynamics.AdamW(batch_size=4),
    "noise": lr.dynamics.LabelNoiseSGD(batch_size=4),
}


class FirstOutputs(AbstractProbe):
    """A probe of one's own with an axis of its own."""

    named = ("first_outputs", "outputs on the first samples")

    @property
    def dims(self):
        return ("sample",)

    def __call__(self, state, context):
        return jnp.asarray(state.f_train[:3])


def small(**changes: Any) -> lr.Experiment:
    fields: dict[str, Any] = {
        "task": lr.tasks.SparseRegression(n=6, d=20, k=1, num_test=30),
        "loss": lr.losses.Squared(),
        "init_scale": 3.0,
        "weight_decay": 0.01,
        "t1": 20.0,
        "probes": ("train_loss", "test_loss", "param_norm", FirstOutputs()),
    }
    return lr.Experiment(**{**fields, **changes})


@pytest.fixture
def eager(monkeypatch):
    """Calls of a watcher as often as the solve reports, so that a short run has several."""
    for name in ("_LEAST_PAUSE", "_PAUSE", "_FIRST_PAUSE"):
        monkeypatch.setattr(_watching, name, 0.0)


def watched(experiment: lr.Experiment, **options: Any) -> tuple[xr.Dataset, list[xr.Dataset]]:
    seen: list[xr.Dataset] = []
    record = lr.simulate(experiment, watcher=seen.append, **options)
    return record, seen


def check_seen(record: xr.Dataset, seen: list[xr.Dataset], rtol: float = 0.0) -> None:
    """Whether what a watcher saw are beginnings of the record, up to the record itself."""
    assert len(seen) > 2
    assert seen[-1].identical(record)
    assert [part.attrs["ending"] for part in seen[:-1]] == ["running"] * (len(seen) - 1)
    lengths = [part.sizes["time"] for part in seen]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]
    for part in seen[:-1]:
        num = part.sizes["time"]
        assert list(part.variables) == list(record.variables)
        assert np.all(np.diff(part["time"].values) > 0)
        for name, values in part.variables.items():
            assert values.attrs == record[name].attrs
            whole = record[name].values[:num] if "time" in values.dims else record[name].values
            if "kkt" in str(name):
                assert np.isnan(values)
            elif values.dtype.kind == "f":
                np.testing.assert_allclose(values, whole, rtol, rtol, err_msg=str(name))
            else:
                np.testing.assert_array_equal(values, whole)


def test_no_dynamics_are_missing():
    assert {type(row).__name__ for row in ROWS.values()} == built_in(AbstractDynamics)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "name",
    [n if n == "sgd" else pytest.param(n, marks=pytest.mark.slow) for n in ROWS],
)
def test_a_watcher_sees_the_beginnings_of_the_record(name):
    changes: dict[str, Any] = {}
    if name == "reduced":  # of two intervals, since it is deep
        model = lr.models.DiagonalLinear(depth=3)
        changes = {"model": model, "t1": 1000.0}
    if name == "log":
        task = lr.tasks.SparseClassification(n=6, d=20, num_test=30)
        changes = {"loss": lr.losses.Logistic(), "task": task, "weight_decay": 0.0, "t1": 4.0}
    if name != "sgd":  # compiling all probes takes long
        changes["probes"] = (*lr.probes.BUILT_IN, "parameters", FirstOutputs())
    experiment = small(dynamics=ROWS[name], **changes)
    record, seen = watched(experiment)
    assert_same_record(record, lr.simulate(experiment))
    assert record["first_outputs"].shape == (record.sizes["time"], 3)
    # Probes after the solve are computed in groups, so that sums are rounded otherwise.
    check_seen(record, seen, rtol=1e-11 if name == "reduced" else 0.0)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_test_data_that_do_not_fit_in_memory(monkeypatch):
    task = lr.tasks.SparseClassification(n=6, d=20, num_test=1100)  # three blocks
    experiment = small(
        task=task,
        loss=lr.losses.Logistic(),
        t1=1e3,
        dynamics=ROWS["reduced"],
        init_scale=10.0,
        probes=tuple(lr.probes.BUILT_IN),
    )
    monkeypatch.setattr(_after, "MOST_HELD", 0)
    plain = lr.simulate(experiment)
    _prepared._kept.clear()  # the data of the run before, with outputs of predictors
    record, seen = watched(experiment)
    assert_same_record(record, plain)
    assert np.isnan(seen[0]["kkt_stationarity"])
    assert np.isfinite(record["kkt_stationarity"])
    check_seen(record, seen, rtol=1e-11)


@pytest.mark.slow
def test_the_first_call_is_early_and_calls_are_seldom():
    segments, calls = [], []

    def listen(stage: str, fraction: float | None, detail: str) -> None:
        del fraction
        if stage == "solving the flow" and detail:
            segments.append(time.perf_counter())
            time.sleep(0.03)

    experiment = small(dynamics=lr.dynamics.Flow(method="tsit5", rtol=1e-10))
    lr.simulate(experiment, listener=listen, watcher=lambda record: None)  # compiles
    segments.clear()
    before: list[int] = []

    def watch(record: xr.Dataset) -> None:
        calls.append(time.perf_counter())
        before.append(len(segments))

    lr.simulate(experiment, listener=listen, watcher=watch)
    assert before[0] == 1
    assert 2 < len(calls) < len(segments)
    assert np.all(np.diff(calls[:-1]) >= 0.2)


class Enough(Exception):  # noqa: N818
    pass


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", ["reduced", "sgd"])
def test_an_exception_ends_the_run_which_goes_on_from_its_checkpoint(name, tmp_path, monkeypatch):
    monkeypatch.setattr(_simulate, "Checkpoint", functools.partial(Checkpoint, every=0.0))
    experiment, path = small(dynamics=ROWS[name], t1=200.0), tmp_path / "run"
    first: list[int] = []

    def until_enough(record: xr.Dataset) -> None:
        first.append(record.sizes["time"])
        if len(first) == 2:
            raise Enough("seen enough")

    with pytest.raises(Enough, match="seen enough"):
        lr.simulate(experiment, watcher=until_enough, checkpoint=path)
    assert len(first) == 2
    record, seen = watched(experiment, checkpoint=path)
    assert_same_record(record, lr.simulate(experiment))
    assert seen[0].sizes["time"] >= first[0]
    check_seen(record, seen, rtol=1e-11)
    # What is complete is shown once.
    again, seen = watched(experiment, checkpoint=path)
    assert len(seen) == 1
    assert seen[0].identical(again)


@pytest.mark.slow
def test_a_running_record_is_read_as_a_run_that_moves():
    class Kept(Exception):  # noqa: N818
        pass

    kept = []

    def first(record: xr.Dataset) -> None:
        kept.append(record)
        raise Kept

    with pytest.raises(Kept):
        lr.simulate(small(dynamics=lr.dynamics.ReducedFlow()), watcher=first)
    events = lr.transition(kept[0])
    assert events.state == "moving"
    assert lr.summarise(kept[0])["ending"] == "running"


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_a_continued_run_shows_what_was_before():
    experiment = small(dynamics=ROWS["tsit5"], t1=2.0)
    record = lr.simulate(experiment, keep_params=True)
    seen: list[xr.Dataset] = []
    longer = lr.extend(record, experiment, 20.0, watcher=seen.append)
    assert seen[-1].identical(longer)
    bare = longer.drop_vars("final_parameters")  # of the end
    check_seen(bare, [*seen[:-1], bare])
    assert seen[0].sizes["time"] >= record.sizes["time"]
    assert_same_record(longer, lr.extend(record, experiment, 20.0))


def test_a_batch_is_not_watched():
    both = [small(dynamics=lr.dynamics.ReducedFlow()), small(dynamics=lr.dynamics.ReducedFlow())]
    with pytest.raises(lr.InputError, match=r"^watcher = 'a batch of 2': watches a single run"):
        lr.simulate_many(both, watcher=lambda record: None)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_watching_another_run_compiles_nothing():
    experiment = small(dynamics=ROWS["reduced"], t1=2000.0)
    _, first = watched(experiment)
    with compilations() as compiled:
        _, second = watched(experiment.with_changes({"init_scale": 4.0, "t1": 4000.0}))
    assert not compiled
    sizes = [[part.sizes["time"] for part in seen] for seen in (first, second)]
    assert sizes[0] != sizes[1]


@pytest.mark.slow
def test_own_dynamics_are_seen_at_the_end():
    times = lr.dynamics.Times(num_log=2, num_linear=0)
    record, seen = watched(small(dynamics=Frozen(), times=times))
    assert len(seen) == 1
    assert seen[0].identical(record)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_a_run_in_float32_with_a_model_of_ones_own():
    def apply(params, x):
        return jnp.tanh(x @ params["first"]) @ params["last"]

    start = {"first": normal(0, 20, 3) / 4, "last": normal(1, 3)}
    model = lr.models.Functions(function=apply, init_params=lambda key: start)
    experiment = small(model=model, dynamics=lr.dynamics.Flow(method="tsit5"))
    experiment = experiment.with_changes({"precision": "float32", "init_scale": 1.0})
    record, seen = watched(experiment)
    assert_same_record(record, lr.simulate(experiment))
    check_seen(record, seen)
