"""The jobs of Map, Inside and Tour, called as the page's worker calls them."""

import json
import shlex
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazyrich as lr
from lazyrich._explore.job import Cancelled, Place
from lazyrich._explore.jobs import JOBS
from lazyrich.plot.describe._map_key import LOOKS

# A store with forecasts is made first, in half a minute.
pytestmark = pytest.mark.slow

SCALES, DECAYS, SEEDS = [1.0, 10.0, 100.0], [1e-2, 3e-2], [0, 1]
BASE = lr.Experiment(
    name="tiny",
    task=lr.tasks.SparseClassification(n=16, d=60, k=1, num_test=60),
    t1=600.0,
    times=lr.dynamics.Times(num_log=40, num_linear=10),
)
OVER: dict[Any, Any] = {"init_scale": SCALES, "weight_decay": DECAYS, "seed": SEEDS}


def silent(event, data):
    del event, data


def call(name, place, send=silent, **args):
    """The answer of a job, which can be written as JSON."""
    job = JOBS[name]
    module = import_module(f"lazyrich._explore.jobs.{job.module}")
    answer = getattr(module, job.function)(args, send, place)
    return json.loads(json.dumps(answer, allow_nan=False))


def refused(name, place, **args):
    """The message, of one line, with which a job refuses its arguments."""
    with pytest.raises(lr.InputError) as caught:
        call(name, place, **args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with forecasts, in four batches of three runs, never changed."""
    folder = tmp_path_factory.mktemp("made") / "store"
    lr.sweep(BASE, OVER, folder, workers=0, batch_size=4, forecast="calibrated")
    return folder


@pytest.fixture
def place(made, tmp_path):
    """A copy of the store that a test may damage."""
    shutil.copytree(made, tmp_path / "store")
    (tmp_path / "scratch").mkdir()
    return Place(str(tmp_path / "store"), tmp_path / "scratch")


@pytest.fixture
def no_store(tmp_path):
    """The place of an explorer without a store."""
    return Place(None, tmp_path)


def batch_files(place):
    return sorted(Path(place.source, "batches").iterdir())


def dataset_of(place):
    sweep = lr.sweeps.Sweep.over(BASE, OVER, 4)
    return lr.sweeps.forecast_runs(
        lr.open_store(place.source, sweep), BASE, OVER, passage="calibrated", store=place.source
    )


# --- Map. ---


def test_open_says_keys_colours_and_counts(place):
    found = call("map.open", place)
    assert [key["key"] for key in found["keys"]] == ["init_scale", "weight_decay", "seed"]
    assert found["keys"][0]["values"] == ["1", "10", "100"]
    assert sum(found["counts"].values()) == found["runs"] == 12
    assert found["missing"] == 0
    assert [colour["name"] for colour in found["colours"]] == [
        "outcome", "delay", "t50", "width", "forecast_outcome", "forecast_t50", "errors",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("colour", "variable"), [("delay", "delay"), ("t50", "t50"), ("forecast_t50", "forecast_t50")]
)
def test_colours_are_the_numbers_of_the_phase_diagram(place, colour, variable):
    found = call("map.figure", place, x="init_scale", y="weight_decay", colour=colour)
    diagram = lr.maps.phase_diagram(dataset_of(place), "init_scale", "weight_decay")
    (cells,) = [trace for trace in found["figure"]["data"] if "customdata" in trace]
    shown = np.array(cells["customdata"], dtype=float)
    expected = np.where(diagram[variable] > 0, diagram[variable], np.nan)
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(shown, expected, rtol=1e-12)


def test_width_and_forecast_error_are_ratios(place):
    diagram = lr.maps.phase_diagram(dataset_of(place), "init_scale", "weight_decay")
    for colour, variable in (("width", "width"), ("errors", "forecast_error")):
        found = call("map.figure", place, x="init_scale", y="weight_decay", colour=colour)
        (cells,) = [trace for trace in found["figure"]["data"] if "customdata" in trace]
        shown = np.array(cells["customdata"], dtype=float)
        np.testing.assert_allclose(shown, np.exp(diagram[variable]), rtol=1e-12)


def test_outcomes_have_letters_and_words_of_their_runs(place):
    found = call("map.figure", place, x="init_scale", y="weight_decay")
    diagram = lr.maps.phase_diagram(dataset_of(place), "init_scale", "weight_decay")
    outcome = diagram["outcome"].values
    shown = np.full(outcome.shape, "", dtype=object)
    for trace in found["figure"]["data"]:
        if trace["type"] == "heatmap":
            letter, _, name = trace["name"].partition(" ")
            (texts,) = [t for t in found["figure"]["data"] if t["name"] == f"letter {letter}"]
            assert len(texts["x"]) >= np.sum(np.array(trace["z"], dtype=float) == 0)
            assert trace["colorscale"][0][1] == LOOKS[name.replace(" ", "_")][0]
            shown[np.array(trace["z"], dtype=float) == 0] = name.replace(" ", "_")
    assert (shown == outcome).all()
    column, row = 2, 0
    runs = call("map.cell", place, x="init_scale", y="weight_decay", column=column, row=row)["runs"]
    # Those of the curves, as are the colours.
    assert [run["mark"] for run in runs] == ["circle-open", "square-open"]
    counts = diagram["count"].isel(init_scale=column, weight_decay=row)
    for kind in sorted({run["outcome"] for run in runs}):
        number = sum(run["outcome"] == kind for run in runs)
        assert counts.sel(kind=kind.replace(" ", "_")).item() == number
        assert f"{number} {kind}" in found["words"][row][column]


def test_a_slice_shows_only_its_runs(place):
    found = call("map.figure", place, x="init_scale", y="weight_decay", slice={"seed": 1})
    assert found["runs"] == 6
    assert found["caption"].startswith("Runs with seed = 1. ")
    cell = {"x": "init_scale", "y": "weight_decay", "column": 1, "row": 1}
    (run,) = call("map.cell", place, slice={"seed": 1}, **cell)["runs"]
    sweep = lr.sweeps.Sweep.over(BASE, OVER, 4)
    changes = {"init_scale": 10.0, "weight_decay": 3e-2, "seed": 1}
    assert sweep.changes(run["run"]) == changes


def test_a_run_is_drawn_with_the_curves_of_the_store(place):
    dataset = dataset_of(place)
    found = call("map.run", place, run=8)
    at = {"init_scale": 100.0, "weight_decay": 1e-2, "seed": 0}
    run = dataset.sel(at)
    assert found["outcome"] == run["outcome"].item()
    assert [change["value"] for change in found["changes"]] == ["100", "0.01", "0"]
    drawn = [t for t in found["figure"]["data"] if t["name"] == "test" and len(t["x"]) > 10]
    times, scores = run["time"].values, run["test_accuracy"].values
    late = np.isfinite(times) & (times > 0)
    np.testing.assert_allclose(drawn[0]["x"], times[late], rtol=1e-12)
    np.testing.assert_allclose(drawn[0]["y"], scores[late], rtol=1e-12)


def test_the_lab_gets_the_experiment_of_a_run(place):
    found = call("map.run", place, run=9)["experiment"]
    sweep = lr.sweeps.Sweep.over(BASE, OVER, 4)
    again = lr.Experiment.from_toml(found["base"]["toml"], Path())
    assert again.with_changes(found["changes"]).content_hash == sweep.run(9).content_hash


def test_a_run_of_a_panel_is_the_panel_with_changes():
    from lazyrich._explore.jobs.map_runs import lab_state

    changes = {"task.d": 300, "init_scale": 3.0, "loss": {"kind": "Squared"}}
    run = lr.studies.load("lyu2024/1a").with_changes(changes)
    state = lab_state(run)
    assert state is not None
    assert state["base"] == "lyu2024/1a"
    assert state["changes"] == {"task.d": 300, "init_scale": 3.0, "loss.kind": "Squared"}


HOSTILE = [
    ("map.open", {"sweep": "../../../etc"}, "sweep"),
    ("map.open", {"sweep": "0123456789abcdef"}, "should be one of"),
    ("map.open", {"other": 1}, "other"),
    ("map.figure", {"x": "task.path"}, "should be one of"),
    ("map.figure", {"x": "seed", "y": "seed"}, "should differ"),
    ("map.figure", {"colour": "../store.json"}, "colour"),
    ("map.figure", {"slice": {"seed": 2}}, "from 0 to 1"),
    ("map.figure", {"slice": {"seed": -1}}, "slice.seed"),
    ("map.figure", {"slice": {"../seed": 0}}, "should be one of"),
    ("map.figure", {"x": "seed", "slice": {"seed": 0}}, "on an axis of the map"),
    ("map.figure", {"slice": []}, "slice"),
    ("map.cell", {"column": 9, "row": 0}, "from 0 to 2"),
    ("map.cell", {"column": 0, "row": 9}, "from 0 to 1"),
    ("map.cell", {"column": "0", "row": 0}, "column"),
    ("map.cell", {"column": True, "row": 0}, "column"),
    ("map.run", {"run": 12}, "from 0 to 11"),
    ("map.run", {"run": "../../batches/x.nc"}, "run"),
    ("map.run", {"run": 1e9}, "run"),
    ("map.run", {}, "run"),
    ("inside.frames", {"run": "../store/batches/x"}, "run"),
    ("inside.frames", {"run": 64 * "a"}, "no longer kept"),
    ("inside.frames", {"run": 64 * "a", "cell": 0}, "name one run"),
    ("inside.frames", {}, "name one run"),
    ("inside.frames", {"cell": 99}, "from 0 to 11"),
    ("inside.record", {"cell": 0, "sweep": "../../etc/passwd"}, "sweep"),
    ("inside.list", {"folder": "/"}, "folder"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "words"), HOSTILE)
def test_hostile_arguments_are_refused_in_one_line(place, name, args, words):
    assert words in refused(name, place, **args)


def test_without_a_store_the_map_says_how_to_make_one(tmp_path):
    from lazyrich.sweeps import parse_axes

    for source in (None, str(tmp_path / "mine.toml")):
        none = Place(source, tmp_path)
        found = call("map.open", none)
        assert found["store"] is None
        assert "lazyrich explore STORE" in refused("map.figure", none)
        assert "lazyrich explore STORE" in refused("map.run", none, run=0)
    words = shlex.split(found["command"])
    pairs = list(zip(words[3::2], words[4::2], strict=True))
    settings = dict(text.split("=", 1) for option, text in pairs if option == "--set")
    over = parse_axes([text for option, text in pairs if option == "--over"], [])
    experiment = lr.studies.load(words[2]).with_changes(
        {k: json.loads(v) for k, v in settings.items()}
    )
    assert len(lr.sweeps.Sweep.over(experiment, over)) == 10
    # The folder that the first command makes is the one that the second opens.
    assert found["then"].split()[-1] == dict(pairs)["--store"]


def test_a_store_that_is_deleted_while_open_is_one_line(place):
    call("map.figure", place)
    shutil.rmtree(place.source)
    for name, args in (
        ("map.open", {}), ("map.figure", {}), ("map.cell", {"column": 0, "row": 0}),
        ("map.run", {"run": 0}), ("map.start", {}), ("inside.frames", {"cell": 0}),
    ):  # fmt: skip
        assert "should be a store" in refused(name, place, **args)


def test_a_damaged_file_is_named_and_its_runs_are_missing(place):
    before = call("map.figure", place)
    file = batch_files(place)[0]
    file.write_bytes(file.read_bytes()[:-200])
    after = call("map.figure", place)
    assert before["missing"] == 0
    assert after["missing"] == 3
    assert len(after["notes"]) == 1
    assert file.name in after["notes"][0]
    assert call("map.open", place)["missing"] == 3
    opened = lr.open_store
    with pytest.warns(UserWarning, match=file.name):
        missing = np.flatnonzero(opened(place.source)["outcome"].values.ravel() == "missing")
    assert file.name in refused("map.run", place, run=int(missing[0]))


def test_a_description_of_the_sweep_that_is_damaged_is_one_line(place):
    (file,) = Path(place.source, "sweeps").glob("*.toml")
    file.write_text("not a sweep", encoding="utf-8")
    assert "should be a sweep's TOML" in refused("map.figure", place)


def test_missing_runs_are_computed_and_nothing_is_lost(place):
    first, second, *kept = batch_files(place)
    whole = dataset_of(place)
    first.unlink()
    second.unlink()
    times = [file.stat().st_mtime_ns for file in kept]
    assert call("map.open", place)["missing"] == 6
    seen = []

    def stopping(event, data):
        seen.append(data)
        if data["done"] >= 9:  # after the first of the two batches
            raise Cancelled

    with pytest.raises(Cancelled):
        call("map.start", place, stopping)
    assert {data["fraction"] for data in seen} >= {6 / 12, 9 / 12}
    assert call("map.open", place)["missing"] == 3
    assert call("map.start", place) == {"left": 0, "runs": 12}
    assert call("map.open", place)["missing"] == 0
    # Finished batches were not computed again, and the new ones have the same numbers.
    assert [file.stat().st_mtime_ns for file in kept] == times
    again = dataset_of(place)
    np.testing.assert_array_equal(again["outcome"], whole["outcome"])
    np.testing.assert_allclose(again["t50"], whole["t50"], rtol=1e-6)
    assert len(call("map.figure", place, colour="errors")["figure"]["data"]) > 0


def test_a_map_with_one_run_on_each_line_has_no_boundary(place):
    for file in batch_files(place)[2:]:  # those of seed 1
        file.unlink()
    found = call("map.figure", place, x="seed", y="init_scale")
    assert found["missing"] == 6
    assert not any("boundary" in trace["name"] for trace in found["figure"]["data"])


def test_a_missing_run_is_said_to_be_missing(place):
    (file, *_) = batch_files(place)
    file.unlink()
    found = call("map.figure", place, x="init_scale", y="weight_decay")
    cells = [(c, r) for r, row in enumerate(found["words"]) for c, text in enumerate(row)
             if "missing" in text]  # fmt: skip
    column, row = cells[0]
    runs = call("map.cell", place, x="init_scale", y="weight_decay", column=column, row=row)["runs"]
    gone = next(run["run"] for run in runs if run["outcome"] == "missing")
    assert "was not computed yet" in refused("map.run", place, run=gone)


# --- Inside. ---


def frames_of(experiment, place):
    """The frames of a run that the Lab has just run."""
    record = lr.simulate(experiment)
    lr.save_record(record, place.scratch / f"record-{experiment.content_hash}.nc")
    run = experiment.content_hash
    before = call("inside.frames", place, run=run)
    assert before["views"] is None
    assert "repeated" in before["words"]
    stages = []
    found = call("inside.record", place, lambda event, data: stages.append(data["stage"]), run=run)
    assert stages[-1] == "preparing the frames"
    assert call("inside.frames", place, run=run) == found
    return found


def view_of(found, name):
    return next(view for view in found["views"] if view["name"] == name)


@pytest.mark.slow
def test_weights_of_a_diagonal_net_are_those_of_the_run(no_store):
    experiment = BASE.with_changes({"init_scale": 30.0, "weight_decay": 1e-2})
    found = frames_of(experiment, no_store)
    view = view_of(found, "weights")
    ((moving,),) = (view["moving"],)
    assert len(found["times"]) == len(moving["values"]) <= 100
    looked = experiment.with_changes(
        {"probes": ["parameters", "train_loss", "test_loss"], "times.num_log": 60,
         "times.num_linear": 39}
    )  # fmt: skip
    record = lr.simulate(looked)
    labels = [int(text.split()[1]) - 1 for text in view["figure"]["data"][0]["text"]]
    for frame in (0, 40, len(found["times"]) - 1):
        params = lr.parameters(record, looked, found["times"][frame])
        w = np.asarray(lr.models.DiagonalLinear().weights(params))
        expected = w / max(np.linalg.norm(w), 1e-300)
        np.testing.assert_allclose(moving["values"][frame], expected[labels], rtol=2e-3, atol=1e-5)
    # Marks are the predictors, as directions: the rich one has k = 1 large weight.
    marks = {trace["name"]: np.array(trace["y"]) for trace in view["figure"]["data"][1:]}
    assert set(marks) == {"kernel predictor", "rich predictor"}
    last = np.array(moving["values"][-1])
    assert last @ marks["rich predictor"] > 0.9
    early = np.array(moving["values"][int(np.searchsorted(found["times"], 1.0))])
    assert early @ marks["kernel predictor"] > 0.9


def test_coordinates_that_are_left_out_are_said_to_be(no_store):
    experiment = BASE.with_changes({"task.d": 400, "t1": 50.0})
    view = view_of(frames_of(experiment, no_store), "weights")
    assert view["words"].startswith("120 of 400 coordinates")
    assert len(view["moving"][0]["values"][0]) == 120


@pytest.mark.slow
def test_a_completion_is_between_its_two_predictors(no_store):
    experiment = lr.studies.load("lyu2024/3").with_changes(
        {"task.d": 8, "model.size": 8, "t1": 1e5, "task.num_observed": 20}
    )
    view = view_of(frames_of(experiment, no_store), "matrix")
    kernel, now, rich = view["figure"]["data"]
    assert [kernel["name"], now["name"], rich["name"]] == [
        "kernel completion", "W(t)", "least nuclear norm",
    ]  # fmt: skip
    last = np.array(view["moving"][0]["values"][-1])
    assert last.shape == (8, 8)
    assert np.abs(last - np.array(rich["z"])).max() < np.abs(last - np.array(kernel["z"])).max()


@pytest.mark.slow
def test_frames_of_a_modular_net(no_store):
    changes = {
        "task.p": 5, "task.train_fraction": 0.8, "model.widths": [16], "model.outputs": 5,
        "t1": 50.0,
    }  # fmt: skip
    found = frames_of(lr.studies.load("lyu2024/2a").with_changes(changes), no_store)
    share = np.array(view_of(found, "fourier")["moving"][0]["values"])
    assert share.shape == (len(found["times"]), 2)
    np.testing.assert_allclose(share.sum(1), 1.0, atol=2e-3)
    layers = view_of(found, "layers")
    assert [np.shape(part["values"])[1] for part in layers["moving"]] == [10, 5]
    circle = view_of(found, "embeddings")
    points = np.array([part["values"] for part in circle["moving"]])
    assert points.shape == (2, len(found["times"]), 6)
    np.testing.assert_allclose(np.sqrt((points**2).sum(0)).max(1), 1.0, atol=2e-3)


@pytest.mark.slow
def test_parts_of_a_committees_error_add_up(no_store):
    changes = {"task.n": 40, "task.d": 8, "task.num_test": 50, "model.width": 20, "t1": 1e4,
               "times.first": 1.0}  # fmt: skip
    found = frames_of(lr.studies.load("kumar2024/1").with_changes(changes), no_store)
    view = view_of(found, "error")
    parts = np.array(view["moving"][0]["values"])
    assert view["figure"]["data"][0]["x"] == ["variance", "misalignment", "linear modes", "all"]
    np.testing.assert_allclose(parts[:, :3].sum(1), parts[:, 3], rtol=5e-3)
    spectrum = np.array(view_of(found, "spectrum")["moving"][0]["values"], dtype=float)
    assert spectrum.shape[1] == 40
    assert (np.diff(spectrum[np.isfinite(spectrum).all(1)], axis=1) <= 0).all()


@pytest.mark.slow
def test_a_cell_of_the_map_can_be_looked_into(place):
    assert call("inside.frames", place, cell=3)["views"] is None
    found = call("inside.record", place, cell=3)
    assert view_of(found, "weights")["moving"]
    assert call("inside.list", place)["runs"] == []


def test_parameters_that_are_too_many_are_refused(no_store):
    experiment = BASE.with_changes({"task.d": 300_000})
    with pytest.raises(lr.InputError, match="too many to keep"):
        import_module("lazyrich._explore.jobs.inside").recorded(experiment)


def test_the_list_has_the_last_runs_and_nothing_else(no_store):
    record = lr.simulate(BASE)
    lr.save_record(record, no_store.scratch / f"record-{BASE.content_hash}.nc")
    (no_store.scratch / f"record-{64 * 'b'}.nc").write_bytes(b"not a record")
    (no_store.scratch / "record-..nc").write_bytes(b"")
    (found,) = call("inside.list", no_store)["runs"]
    assert found["run"] == BASE.content_hash
    assert found["words"].startswith("tiny: ")
    assert found["words"].endswith(f"seed {BASE.seed}")
    control = BASE.with_changes({"task.random_labels": True, "task.num_test": 50})
    record = record.assign_attrs(experiment=control.description)
    lr.save_record(record, no_store.scratch / f"record-{control.content_hash}.nc")
    first, last = (run["words"] for run in call("inside.list", no_store)["runs"])
    assert first.endswith(", task.num_test = 50, random labels")
    assert last == f"{found['words']}, task.num_test = 60"


# --- Tour. ---

STORIES = ["grokking", "regimes", "misgrokking", "time", "nothing"]


def test_the_tour_has_five_short_stories(no_store):
    stories = call("tour.list", no_store)["stories"]
    assert [story["id"] for story in stories] == STORIES
    for story in stories:
        assert 3 <= len(story["steps"]) <= 6
        for step in story["steps"]:
            assert len(step["text"].split()) <= 80
            assert step["shows"]
            for run in step["runs"]:
                changes = run["experiment"]["changes"]
                found = lr.studies.load(run["experiment"]["base"]).with_changes(changes)
                sizes = found.task.sizes()
                assert sizes is not None
                # Small enough for an answer in a lecture.
                assert sizes.num_train * sizes.dim <= 200_000


@pytest.mark.slow
@pytest.mark.parametrize("story", STORIES)
def test_every_claim_of_the_tour_is_what_its_runs_give(no_store, story):
    (found,) = [one for one in call("tour.list", no_store)["stories"] if one["id"] == story]
    for number, step in enumerate(found["steps"]):
        runs = []
        for run in step["runs"]:
            base, changes = run["experiment"]["base"], run["experiment"]["changes"]
            experiment = lr.studies.load(base).with_changes(changes)
            record = lr.simulate(experiment)
            record.attrs["thresholds"] = json.dumps(lr.studies.thresholds(base).table())
            runs.append(experiment.content_hash)
            lr.save_record(record, no_store.scratch / f"record-{runs[-1]}.nc")
        rows = call("tour.check", no_store, story=story, step=number, runs=runs)["shows"]
        wrong = [row for row in rows if not row["holds"]]
        assert not wrong, (step["title"], wrong)


def test_a_claim_that_does_not_hold_is_said_not_to(no_store):
    # The last step of the last story, with the same run for both labels.
    changes = {"task.d": 60, "task.n": 16, "task.num_test": 50, "t1": 5.0}
    experiment = lr.studies.load("lyu2024/1a").with_changes(changes)
    run = experiment.content_hash
    lr.save_record(lr.simulate(experiment), no_store.scratch / f"record-{run}.nc")
    rows = call("tour.check", no_store, story="nothing", step=3, runs=[run, run])["shows"]
    assert [row["holds"] for row in rows].count(False) >= 1
    assert rows[0]["measured"] == rows[1]["measured"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"story": "../tour.toml", "step": 0, "runs": [64 * "a"]}, "should be one of grokking"),
        ({"story": "time", "step": 9, "runs": [64 * "a"]}, "from 0 to 4"),
        ({"story": "time", "step": 1, "runs": [64 * "a"]}, "should be 3 for this step"),
        ({"story": "time", "step": 0, "runs": [64 * "a"]}, "no longer kept"),
        ({"story": "time", "step": 0, "runs": ["../record"]}, "runs.0"),
        ({"story": "time", "step": 0}, "runs"),
    ],
)
def test_hostile_arguments_of_the_tour(no_store, args, words):
    assert words in refused("tour.check", no_store, **args)
