"""The jobs of the Lab, called as a worker calls them."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich._core.description import Choice
from lazyrich._explore import finished
from lazyrich._explore.job import Cancelled, Place, encoded
from lazyrich._explore.jobs import JOBS
from lazyrich.experiments import Experiment

SMALL = {"task.n": 24, "task.d": 200, "task.num_test": 200, "init_scale": 100.0}
GROKS = {"base": "forecast/sparse", "changes": SMALL}


class Page:
    """What the page does with jobs: `events` are those of the last one."""

    def __init__(self, scratch: Path, source: Path | None = None):
        self.place = Place(None if source is None else str(source), scratch)
        self.events: list[tuple[str, dict[str, Any]]] = []

    def ask(self, name: str, cancel_at: str | None = None, /, **args: Any) -> dict[str, Any]:
        """The answer of a job, sent as JSON like its arguments."""
        job = JOBS[name]
        module = __import__(f"lazyrich._explore.jobs.{job.module}", fromlist=[job.function])
        self.events.clear()

        def send(event: str, data: dict[str, Any]) -> None:
            if event == cancel_at:
                raise Cancelled
            self.events.append((event, json.loads(encoded(data))))

        found = getattr(module, job.function)(json.loads(json.dumps(args)), send, self.place)
        return dict(json.loads(encoded(found)))

    def refused(self, name: str, **args: Any) -> str:
        """The one line by which a job is refused."""
        with pytest.raises(lr.InputError) as error:
            self.ask(name, **args)
        words = str(error.value)
        assert "\n" not in words
        return words


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(tmp_path)


def fields(described: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {field["key"]: field for field in described["fields"]}


# --- Describe. ---


@pytest.mark.parametrize("name", lr.studies.names())
def test_every_panel_has_controls_whose_values_and_choices_are_accepted(page, name):
    described = page.ask("lab.describe", experiment={"base": name})
    experiment = lr.studies.load(name)
    assert described["hash"] == experiment.content_hash
    found = fields(described)
    assert {"init_scale", "weight_decay", "t1", "seed", "loss.kind"} <= found.keys()
    same = experiment.with_changes({f["key"]: f["value"] for f in found.values()
                                    if not f["key"].endswith(".kind")})  # fmt: skip
    assert same.content_hash == experiment.content_hash
    for field in found.values():
        assert field["label"]
        if field["type"] in ("number", "integer") and field["scale"] != "none":
            low = 0 if field["zero"] else field["low"]
            assert low <= field["value"] <= field["high"]
        for choice in field["choices"]:
            assert bool(choice.get("why")) != bool(_accepts(experiment, field, choice))


def _accepts(experiment: Experiment, field: dict[str, Any], choice: dict[str, Any]) -> bool:
    changes = choice.get("changes") or {field["key"]: choice["value"]}
    try:
        experiment.with_changes(changes)
    except lr.InputError:
        # Only the precision can depend on the dynamics, and says so when it is chosen.
        return field["key"] == "precision"
    return True


def _kinds() -> list[tuple[str, str]]:
    families = {
        name: field.annotation
        for name, field in Experiment.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Choice)
    }
    return [
        (name, kind.kind_name())
        for name, family in families.items()
        for kind in family.kinds.values()
        if kind.__module__.startswith("lazyrich.") and not kind.own_code
    ]


# A panel at which a kind can be chosen, and kinds that need what a page cannot give.
NEEDS = {"MatrixFactorisation": "forecast/completion"}
IMPOSSIBLE = {"Arrays", "SplitArrays"}


@pytest.mark.parametrize(("key", "kind"), _kinds())
def test_every_kind_can_be_chosen_and_has_controls(page, key, kind):
    base = NEEDS.get(kind, "forecast/sparse")
    field = fields(page.ask("lab.describe", experiment={"base": base}))[f"{key}.kind"]
    (choice,) = [choice for choice in field["choices"] if choice["value"] == kind]
    assert bool(choice["why"]) == (kind in IMPOSSIBLE)
    if choice["why"]:
        return
    described = page.ask("lab.describe", experiment={"base": base, "changes": choice["changes"]})
    found = fields(described)
    assert found[f"{key}.kind"]["value"] == kind
    own = [name for name in found if name.startswith(f"{key}.") and not name.endswith(".kind")]
    experiment = lr.studies.load(base).with_changes(choice["changes"])
    for name in own:
        value = found[name]["value"]
        assert experiment.value(name) in (value, tuple(value) if isinstance(value, list) else value)


def test_a_wrapper_keeps_its_model_and_gives_it_back(page):
    base = {"base": "kumar2024/2a"}
    field = fields(page.ask("lab.describe", experiment=base))["model.kind"]
    (wrap,) = [choice for choice in field["choices"] if choice["value"] == "Linearised"]
    wrapped = {**base, "changes": wrap["changes"]}
    field = fields(page.ask("lab.describe", experiment=wrapped))["model.kind"]
    (back,) = [choice for choice in field["choices"] if choice["value"] == "MLP"]
    again = page.ask("lab.describe", experiment={**base, "changes": back["changes"]})
    assert again["hash"] == lr.studies.load("kumar2024/2a").content_hash


def test_ranges_follow_from_the_constraints_of_the_fields(page):
    found = fields(page.ask("lab.describe", experiment={"base": "forecast/sparse"}))
    decay = found["weight_decay"]
    assert (decay["scale"], decay["zero"], decay["minimum"]) == ("log", True, 0)
    assert decay["low"] == pytest.approx(1e-6)
    assert (found["init_scale"]["scale"], found["init_scale"]["zero"]) == ("log", False)
    depth = found["model.depth"]
    assert (depth["type"], depth["scale"], depth["minimum"], depth["maximum"]) == (
        "integer", "linear", 2, 64,
    )  # fmt: skip
    assert depth["low"] == 2
    assert found["seed"]["scale"] == "none"
    share = fields(page.ask("lab.describe", experiment={"base": "forecast/modular"}))[
        "task.train_fraction"
    ]
    assert 0 < share["low"] < share["value"] < share["high"] < 1
    assert share["scale"] == "linear"


@pytest.mark.parametrize(
    "key", ["init_scale", "weight_decay", "task.n", "task.d", "model.depth", "t1"]
)
def test_the_ends_of_a_slider_are_accepted_and_what_is_outside_is_refused_in_a_line(page, key):
    field = fields(page.ask("lab.describe", experiment={"base": "forecast/sparse"}))[key]
    whole = field["type"] == "integer"
    for end in ("low", "high"):
        value = int(field[end]) if whole else field[end]
        moved = {"base": "forecast/sparse", "changes": {key: value}}
        assert fields(page.ask("lab.describe", experiment=moved))[key]["value"] == value
    outside = {"base": "forecast/sparse", "changes": {key: -1}}
    for job in ("lab.describe", "lab.forecast", "lab.run"):
        assert page.refused(job, experiment=outside).startswith(f"{key} = -1: ")


def test_the_range_of_a_slider_stays_while_it_moves(page):
    first = fields(page.ask("lab.describe", experiment=GROKS))["init_scale"]
    moved = {**GROKS, "changes": {**SMALL, "init_scale": 3.0}}
    second = fields(page.ask("lab.describe", experiment=moved))["init_scale"]
    assert (first["low"], first["high"]) == (second["low"], second["high"])


def test_a_large_panel_begins_at_the_size_of_the_lab(page):
    first, original = page.ask("lab.describe", experiment={"base": "lyu2024/1a"})["presets"]
    assert original["changes"] == {}
    smaller = {"base": "lyu2024/1a", "changes": first["changes"]}
    assert page.ask("lab.describe", experiment={"base": "lyu2024/1a"})["size"]["slow"]
    assert not page.ask("lab.describe", experiment=smaller)["size"]["slow"]


def test_an_experiment_that_does_not_fit_or_takes_long_says_so(page):
    huge = {"base": "lyu2024/1a", "changes": {"task.d": 10**12}}
    said = page.ask("lab.describe", experiment=huge)["size"]
    assert said["error"].startswith("task.d = 1000000000000: ")
    assert page.refused("lab.forecast", experiment=huge)[:60] == said["error"][:60]
    slow = page.ask("lab.forecast", experiment={"base": "lyu2024/2a"})
    assert "3,763 samples" in slow["waits"]
    assert "figure" not in slow
    steps = {"base": "lyu2024/B.2", "changes": {"t1": 1e9}}
    assert "steps takes about" in page.ask("lab.describe", experiment=steps)["size"]["words"]


# --- Null control. ---


def test_the_null_control_is_random_labels_where_the_task_can(page):
    control = page.ask("lab.describe", experiment=GROKS)["null_control"]
    assert control["possible"]
    changed = {**GROKS, "changes": {**SMALL, **control["changes"]}}
    again = page.ask("lab.describe", experiment=changed)["null_control"]
    assert not again["possible"]
    assert "is a null control" in again["why"]
    assert fields(page.ask("lab.describe", experiment=changed))["task.random_labels"]["value"]
    none = page.ask("lab.describe", experiment={"base": "lyu2024/3"})["null_control"]
    assert not none["possible"]
    assert none["why"].startswith("MatrixCompletion has no version with random labels")


# --- Forecast and run. ---


@pytest.mark.slow
def test_a_forecast_is_that_of_the_library_and_is_told_first_by_the_constant(page):
    answer = page.ask("lab.forecast", experiment=GROKS)
    experiment = lr.studies.load("forecast/sparse").with_changes(SMALL)
    wanted = lr.forecast(experiment, thresholds=lr.studies.thresholds("forecast/sparse"))
    for name in ("verdict", "confidence", "t50", "t_kernel_end", "textbook"):
        assert answer[name] == getattr(wanted, name)
    assert tuple(answer["t50_interval"]) == wanted.t50_interval
    assert len(answer["reasons"]) == len(wanted.reasons)
    for scale in ("log", "linear"):
        described = lr.plot.describe.forecast(wanted, time=scale, columns=1, until=experiment.t1)
        assert answer["figure"][scale] == json.loads(encoded(lr.plot.plotly(described)))
    assert answer["figure"]["linear"]["layout"]["xaxis"]["range"] == [0, experiment.t1]
    parts = [data for event, data in page.events if event == "part"]
    assert len(parts) == (1 if wanted.num_steps else 0)
    for part in parts:
        assert part["stage"].startswith("Forecast by the constant")
        assert part["run"] == answer["run"]


def chosen(page: Page, asked: dict[str, Any], key: str, value: str) -> dict[str, Any]:
    """An experiment in which a kind is chosen as the page does it."""
    field = fields(page.ask("lab.describe", experiment=asked))[key]
    (choice,) = [choice for choice in field["choices"] if choice["value"] == value]
    return {**asked, "changes": {**asked["changes"], **choice["changes"]}}


@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_what_needs_pilots_is_said_at_once_and_without_curves(page, kind):
    # Large enough for a forecast of a flow to wait until it is asked for.
    large = {"base": "forecast/sparse", "changes": {**SMALL, "task.n": 1000, "task.d": 20_000}}
    assert page.ask("lab.forecast", experiment=large)["waits"]
    adam = chosen(page, large, "dynamics.kind", kind)
    answer = page.ask("lab.forecast", experiment=adam)
    assert (answer["verdict"], answer["confidence"], answer["t50"]) == ("cannot_say", "low", None)
    assert answer["words"].startswith("Whether the test score changes cannot be said here.")
    assert answer["advice"].startswith("Run pilots")
    assert f"a step of {kind} is not proportional to the gradient" in answer["reasons"][0]
    assert (answer["figure"], answer["caption"]) == (None, "")
    assert "Press Run" in answer["stage"]
    assert "wait until" not in page.ask("lab.describe", experiment=adam)["size"]["words"]
    for what in ("pdf", "png"):
        assert "press Run first" in page.refused("save", what=what, experiment=adam)
    # The run is drawn with what is kept of this forecast, whatever made its record.
    record = lr.open_record(Path(__file__).parent / "golden" / "record.nc")
    finished.keep_record(record, {}, answer["run"], page.place)
    figure = page.ask("lab.compare", runs=[answer["run"]])["figure"]
    assert not [trace for trace in figure["log"]["data"] if "forecast" in trace["name"]]
    assert any(trace["name"] == "test" for trace in figure["log"]["data"])
    assert saved(page, "png", experiment=adam, run=answer["run"]).startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_solved_forecast_shows_the_calibrated_one_first(page):
    wanted = {"base": "forecast/sparse", "changes": {**SMALL, "loss": {"kind": "Exponential"}}}
    answer = page.ask("lab.forecast", experiment=wanted)
    (part,) = [data for event, data in page.events if event == "part"]
    assert answer["stage"].startswith("The transition was solved")
    assert part["t_kernel_end"] == answer["t_kernel_end"]


@pytest.mark.slow
def test_a_run_streams_its_curves_and_its_record_is_that_of_the_library(page):
    page.ask("lab.forecast", experiment=GROKS)
    answer = page.ask("lab.run", experiment=GROKS)
    experiment = lr.studies.load("forecast/sparse").with_changes(SMALL)
    wanted = lr.simulate(experiment)
    kept = lr.open_record(page.place.scratch / f"record-{answer['run']}.nc")
    for name in wanted.data_vars:
        if wanted[name].dims == ("time",):
            np.testing.assert_array_equal(kept[name], wanted[name])
    assert kept.attrs["experiment_hash"] == experiment.content_hash
    assert answer["outcome"] == lr.transition(wanted).outcome
    names = {trace["name"] for trace in answer["figure"]["log"]["data"]}
    assert {"train, kernel flow", "kernel phase ends, forecast"} <= names
    stages = [data["stage"] for event, data in page.events if event == "progress"]
    assert "solving the flow" in stages
    parts = [data for event, data in page.events if event == "part"]
    assert parts
    assert all(part["run"] == answer["run"] for part in parts)
    assert answer["figure"]["linear"]["layout"]["xaxis"]["range"] == [0, experiment.t1]
    again = page.ask("lab.run", experiment=GROKS)
    assert not page.events  # it is kept
    assert again["figure"] == answer["figure"]
    # A page that is loaded again asks for the words on its runs, and for the figure of one run.
    other = "0" * 64
    facts = {key: value for key, value in answer.items() if key not in ("figure", "caption")}
    known = page.ask("lab.finished", runs=[answer["run"], other])
    assert known["runs"] == {answer["run"]: facts}
    assert page.ask("lab.compare", runs=[answer["run"]])["figure"] == answer["figure"]


def test_the_oldest_runs_are_not_kept(page, monkeypatch):
    record = lr.open_record(Path(__file__).parent / "golden" / "record.nc")
    names = ["a" * 64, "b" * 64, "c" * 64]
    size = 0
    for most, left in (({"MAX_RECORDS": 2}, names[1:]), ({"MAX_BYTES": 1.5}, names[2:])):
        for key, value in most.items():
            monkeypatch.setattr(finished, key, value if key == "MAX_RECORDS" else value * size)
        for run in names:
            finished.keep_record(record, {"run": run}, run, page.place)
        files = sorted(page.place.scratch.glob("record-*.nc"))
        size = files[0].stat().st_size
        assert [file.stem.removeprefix("record-") for file in files] == left
        assert list(page.ask("lab.finished", runs=names)["runs"]) == left


@pytest.mark.slow
def test_a_cancelled_run_leaves_nothing(page):
    other = {"base": "forecast/sparse", "changes": {**SMALL, "seed": 5}}
    with pytest.raises(Cancelled):
        page.ask("lab.run", "part", experiment=other)
    assert not list(page.place.scratch.glob("record-*"))


@pytest.mark.slow
def test_a_prepared_run_ends_with_its_first_curve(page):
    answer = page.ask("lab.prepare", experiment=GROKS)
    assert answer["run"] == page.ask("lab.describe", experiment=GROKS)["run"]
    assert not list(page.place.scratch.glob("record-*"))


@pytest.mark.slow
def test_runs_are_drawn_over_each_other_under_names_of_their_own(page):
    control = {**GROKS, "changes": {**SMALL, "task.random_labels": True}}
    runs = [page.ask("lab.run", experiment=one)["run"] for one in (GROKS, control)]
    assert runs[0] != runs[1]
    answer = page.ask("lab.compare", runs=runs, names=["as it is", "random labels"])
    traces = {trace["name"] for trace in answer["figure"]["linear"]["data"]}
    assert {"as it is, test", "random labels, test"} <= traces
    same = page.ask("lab.compare", runs=runs, names=["run", "run"])
    assert {"run, test", "run (2), test"} <= {t["name"] for t in same["figure"]["log"]["data"]}


# --- Save. ---


def test_the_command_runs_the_file_that_is_saved(page):
    toml = {"toml": 'name = "small one"\n[task]\nkind = "SparseClassification"\n'}
    wanted = {"base": toml, "changes": {"seed": 3}}
    assert page.ask("save.text", what="toml", experiment=wanted)["name"] == "small-one.toml"
    assert page.ask("lab.describe", experiment=wanted)["command"] == "lazyrich run small-one.toml"


def saved(page: Page, what: str, **args: Any) -> bytes:
    return base64.b64decode(page.ask("save", what=what, **args)["base64"])


CHANGED: dict[str, Any] = {
    "base": "lyu2024/1a",
    "changes": {
        **SMALL,
        "t1": 50.0,
        "loss": {"kind": "Hinge", "width": 0.01},
        "times.at": [1.0, 2.0],
        "name": 'a "quoted" name \\ of two\nlines',
    },
}


@pytest.mark.slow
def test_python_that_is_saved_makes_the_same_experiment(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    wanted = page.ask("lab.describe", experiment=CHANGED)["hash"]
    for asked in (CHANGED, {"base": {"toml": saved(page, "toml", experiment=CHANGED).decode()}}):
        found: dict[str, Any] = {}
        exec(saved(page, "python", experiment=asked), found)
        assert found["experiment"].content_hash == wanted
        assert isinstance(found["record"], xr.Dataset)
        assert (tmp_path / "run.pdf").stat().st_size > 1000


def test_toml_that_is_saved_loads_to_the_same_experiment(page, tmp_path):
    described = page.ask("lab.describe", experiment=CHANGED)
    file = tmp_path / "mine.toml"
    file.write_bytes(saved(page, "toml", experiment=CHANGED))
    assert lr.Experiment.load(file).content_hash == described["hash"]
    assert file.read_text() == described["toml"]


def test_the_command_makes_the_same_experiment(page):
    import shlex

    from lazyrich.cli.settings import resolve

    words = shlex.split(page.ask("lab.describe", experiment=CHANGED)["command"])
    assert words[:3] == ["lazyrich", "run", "lyu2024/1a"]
    assert set(words[3::2]) == {"--set"}
    changed = resolve(words[2], words[4::2])
    assert changed.content_hash == page.ask("lab.describe", experiment=CHANGED)["hash"]
    assert changed.name == CHANGED["changes"]["name"]


@pytest.mark.slow
def test_figures_reports_and_records_are_saved(page):
    run = page.ask("lab.run", experiment=GROKS)["run"]
    both = {"experiment": GROKS, "run": run}
    assert saved(page, "pdf", **both).startswith(b"%PDF")
    assert saved(page, "png", **both).startswith(b"\x89PNG")
    assert b"<!doctype html>" in saved(page, "report", **both)[:200].lower()
    record = page.place.scratch / "again.nc"
    record.write_bytes(saved(page, "record", **both))
    assert lr.open_record(record).attrs["experiment_hash"]
    assert page.ask("save", what="png", experiment=GROKS)["name"] == "forecast-sparse.png"
    assert "press Run first" in page.refused("save", what="record", experiment=GROKS)


# --- Files of the command, and text of the page. ---


@pytest.fixture
def with_data(tmp_path: Path) -> Path:
    """A TOML file of a user with data beside it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    numbers = np.random.default_rng(0)
    rows = numbers.normal(size=(40, 5))
    labels = np.sign(rows[:, 0])
    lines = [
        "a,b,c,d,e,label",
        *(",".join(map(str, [*r, y])) for r, y in zip(rows, labels, strict=True)),
    ]
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    file = folder / "mine.toml"
    file.write_text('name = "mine"\nt1 = 10.0\n[task]\npath = "data.csv"\nnum_train = 20\n')
    return file


def test_the_file_of_the_command_can_name_data(with_data, tmp_path):
    page = Page(tmp_path, with_data)
    changes = {"task.num_train": 24, "init_scale": 5.0}
    asked = {"base": "file", "changes": changes}
    described = page.ask("lab.describe", experiment=asked)
    assert described["hash"] == lr.Experiment.load(with_data, changes).content_hash
    assert fields(described)["task.num_train"]["value"] == 24
    file = tmp_path / "elsewhere.toml"
    file.write_bytes(saved(page, "toml", experiment=asked))
    assert lr.Experiment.load(file).content_hash == described["hash"]
    made: dict[str, Any] = {}
    code = saved(page, "python", experiment=asked).decode()
    exec(code.partition("forecast = ")[0], made)
    assert made["experiment"].content_hash == described["hash"]
    assert page.ask("lab.list")["source"] == str(with_data)


def test_text_of_the_page_names_no_files(with_data, page):
    text = with_data.read_text().replace("data.csv", str(with_data.with_name("data.csv")))
    hint = "start lazyrich explore FILE.toml"
    for asked in (
        {"base": {"toml": text}},
        {"base": {"toml": '[task]\nkind = "Images"\nsource = "mnist"\nfolder = "/etc"\n'}},
        {"base": "forecast/sparse", "changes": {"task.path": "/etc/passwd"}},
        {"base": "forecast/sparse", "changes": {"task": {"kind": "Images", "folder": "/etc"}}},
        {"base": "file"},
    ):
        for job in ("lab.describe", "lab.forecast", "lab.run"):
            assert hint in page.refused(job, experiment=asked)


HOSTILE: list[tuple[str, dict[str, Any]]] = [
    ("lab.describe", {}),
    ("lab.describe", {"experiment": "lyu2024/1a"}),
    ("lab.describe", {"experiment": {"base": 7}}),
    ("lab.describe", {"experiment": {"base": "../../etc/passwd"}}),
    ("lab.describe", {"experiment": {"base": "lyu2024/1a", "extra": 1}}),
    ("lab.describe", {"experiment": {"base": "lyu2024/1a", "changes": {"init_scale": None}}}),
    ("lab.describe", {"experiment": {"base": "lyu2024/1a", "changes": {"init_scale": "big"}}}),
    ("lab.describe", {"experiment": {"base": "lyu2024/1a", "changes": {"": 1}}}),
    ("lab.describe", {"experiment": {"base": "lyu2024/1a", "changes": {"a.b.c.d": 1}}}),
    ("lab.describe", {"experiment": {"base": "lyu2024/1a", "changes": {"task": [1]}}}),
    ("lab.describe", {"experiment": {"base": "lyu2024/1a", "changes": {"name": "x" * 20_000}}}),
    (
        "lab.describe",
        {"experiment": {"base": "lyu2024/1a", "changes": {"model.kind": "os:system"}}},
    ),
    ("lab.describe", {"experiment": {"base": {"toml": "]"}}}),
    ("lab.describe", {"experiment": {"base": {"toml": "a" * 300_000}}}),
    ("lab.describe", {"experiment": {"base": {"toml": "task = 1"}}}),
    ("lab.describe", {"experiment": {"base": {"toml": '[task]\nkind = "Nothing"'}}}),
    ("lab.describe", {"experiment": {"base": {"toml": '[model]\nkind = "os:system"'}}}),
    ("lab.forecast", {"experiment": GROKS, "columns": 9}),
    ("lab.compare", {"runs": []}),
    ("lab.compare", {"runs": ["../../../etc/passwd"]}),
    ("lab.compare", {"runs": ["0" * 64]}),
    ("lab.compare", {"runs": ["0" * 64] * 50}),
    ("save", {"what": "everything", "experiment": GROKS}),
    ("save", {"what": "record", "run": "../record"}),
    ("save", {"what": "toml"}),
    ("save.text", {"what": "record", "run": "0" * 64}),
    ("lab.finished", {"runs": ["../../../etc/passwd"]}),
    ("lab.finished", {"runs": ["0" * 64] * 1000}),
    ("lab.list", {"more": True}),
]


@pytest.mark.parametrize(("job", "args"), HOSTILE)
def test_hostile_arguments_are_refused_in_one_line(page, job, args):
    words = page.refused(job, **args)
    assert re.match(r"[^=]* = .+: .+", words)
    assert len(words) < 3000
    assert not list(page.place.scratch.iterdir())


def test_a_hostile_name_is_a_harmless_file_name(page):
    for name in ("../../x", "a/b\\c", "<script>", "\x00", "." * 300, ""):
        asked = {"base": "forecast/sparse", "changes": {"name": name}}
        found = page.ask("save", what="toml", experiment=asked)["name"]
        assert re.fullmatch(r"[\w.-]{1,85}", found)
        assert not found.startswith(".")


def test_the_list_has_every_panel_in_words(page):
    listed = page.ask("lab.list")
    assert [row["name"] for row in listed["experiments"]] == lr.studies.names()
    words = {row["name"]: row["words"] for row in listed["experiments"]}
    assert words["lyu2024/1a"] == "DiagonalLinear on SparseClassification, Logistic"
    assert listed["source"] is None
