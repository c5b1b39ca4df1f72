import json
from pathlib import Path

import numpy as np
import pytest

import lazyrich as lr
from lazyrich import studies
from lazyrich._core.description import Choice
from tests.helpers import built_in, small_experiment

FULL = small_experiment(
    name='quotes " and\nlines',
    seed=7,
    loss=lr.losses.Squared(),
    model=lr.models.DiagonalLinear(depth=3),
    dynamics=lr.dynamics.GradientDescent(learning_rate=0.5),
    probes=("test_loss", "drift"),
    published=lr.experiments.Published(source="here", numbers={"t50": 3.0}, time_per_step=0.1),
)


def test_fields_without_names_are_one_short_line():
    with pytest.raises(lr.InputError, match=r"^Arrays = '2 without a name': give fields by name"):
        lr.tasks.Arrays(np.zeros((3, 2)), np.zeros(3))  # type: ignore[call-arg]


def test_a_pair_of_functions_is_told_of_its_wrapper():
    with pytest.raises(
        lr.InputError, match=r"model = .*lazyrich.models.Functions\(init_params=..."
    ):
        lr.Experiment(
            task=lr.tasks.SparseClassification(n=6, d=10),
            model=(lambda key, dim: dim, lambda params, x: x),  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("name", studies.names())
def test_panels_load_and_survive_a_file(name, tmp_path):
    experiment = studies.load(name)
    assert experiment.name == name
    published = experiment.published
    if published is not None and published.curves is not None:
        assert published.numbers or published.at
        assert len(studies.published_curves(published)) >= 3
    experiment.save(tmp_path / "again.toml")
    assert lr.Experiment.load(tmp_path / "again.toml") == experiment


def test_every_field_survives_a_file(tmp_path):
    FULL.save(tmp_path / "full.toml")
    again = lr.Experiment.load(tmp_path / "full.toml")
    for key in type(FULL).model_fields:
        assert getattr(again, key) == getattr(FULL, key), key
    assert again.content_hash == FULL.content_hash


def test_arrays_survive_a_file(tmp_path):
    rng = np.random.default_rng(0)
    task = lr.tasks.Arrays(
        x_train=rng.normal(size=(4, 3)),
        y_train=np.ones(4),
        x_test=np.ones((2, 3)),
        y_test=np.ones(2),
    )
    experiment = lr.Experiment(task=task)
    experiment.save(tmp_path / "mine.toml")
    again = lr.Experiment.load(tmp_path / "mine.toml")
    assert again == experiment
    assert again.content_hash == experiment.content_hash
    # The digest notices other contents under the same name.
    other = {name: getattr(task, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(tmp_path / "mine.npz", **{**other, "x_train": np.ones((4, 3))})
    with pytest.raises(lr.InputError, match=r"^task\.sha256 = "):
        lr.Experiment.load(tmp_path / "mine.toml")


def test_hash_ignores_order_and_what_changes_nothing():
    text = FULL.to_toml()
    table = lr.Experiment.from_toml(text, Path()).table()
    turned = {key: table[key] for key in reversed(table)}
    turned["task"] = {key: table["task"][key] for key in reversed(table["task"])}
    assert lr.Experiment.from_table(turned).content_hash == FULL.content_hash
    renamed = FULL.with_changes({"name": "other"})
    assert renamed.content_hash == FULL.content_hash
    # A number written as an integer is the same number.
    assert small_experiment(init_scale=30).content_hash == small_experiment().content_hash


def test_hash_notices_every_change():
    base = lr.Experiment(task=lr.tasks.SparseClassification())
    changes = {
        "task.n": 3,
        "task.kind": "SeparatedClassification",
        "model.depth": 3,
        "loss.kind": "Exponential",
        "init_scale": 2.0,
        "weight_decay": 1e-3,
        "t1": 5.0,
        "seed": 1,
        "dynamics.rtol": 1e-3,
        "dynamics.kind": "GradientDescent",
        "times.num_log": 5,
        "probes": ["drift"],
    }
    hashes = {base.with_changes({key: value}).content_hash for key, value in changes.items()}
    assert len(hashes | {base.content_hash}) == len(changes) + 1


def test_hashes_stay_what_they_were():
    # These change only if a default or the hash's definition changed: both would orphan
    # stored results. Do not update them; restore what changed.
    default = lr.Experiment(task=lr.tasks.SparseClassification())
    panels = {name: studies.load(name).content_hash[:16] for name in studies.names()}
    assert default.content_hash[:16] == "51580baee2c296c3"
    assert panels["lyu2024/1a"] == "2bd75ab924ece30d"
    assert panels["lyu2024/1b"] == "6d4c329696071a4d"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task.n": 0}, "task.n = 0: should be greater than or equal to 1"),
        ({"task.n": "many"}, "task.n = 'many': should be a valid integer"),
        ({"task.n": True}, "task.n = True: should be a valid integer"),
        ({"task.m": 5}, "task.m = 5: unknown key"),
        ({"weight_deacy": 5}, "weight_deacy = 5: unknown key (did you mean weight_decay?)"),
        ({"weight_decay": -1e-3}, "weight_decay = -0.001: should be greater than or equal to 0"),
        ({"weight_decay": float("nan")}, "weight_decay = nan: should be a finite number"),
        ({"init_scale": 0.0}, "init_scale = 0.0: should be greater than 0"),
        ({"model.depth": 1}, "model.depth = 1: should be greater than or equal to 2"),
        (
            {"model.kind": "Deep"},
            "model.kind = 'Deep': should be one of Centred, CommitteeMachine",
        ),
        ({"loss": "Logistic"}, "loss = 'Logistic': should be a table with a `kind`"),
        ({"foo.bar": 1}, "foo.bar = 1: unknown key"),
        ({"t1.x": 1}, "t1.x = 1: unknown key"),
        ({"seed": -1}, "seed = -1: should be greater than or equal to 0"),
        ({"probes": ["norm"]}, "probes = 'norm': should be among train_loss"),
        ({"probes": 3}, "probes = 3: should be a list"),
        ({"times.first": 0.0}, "times.first = 0.0: should be greater than 0"),
        ({"dynamics.rtol": 1.0}, "dynamics.rtol = 1.0: should be less than 0.1"),
        ({"task.k": 2}, "task.k = 2: should be odd"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(lr.InputError) as caught:
        lr.Experiment(task=lr.tasks.SparseClassification()).with_changes(changes)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_missing_task_is_named():
    with pytest.raises(lr.InputError, match=r"^task = None: missing; Experiment needs it$"):
        lr.Experiment.from_table({})


def test_a_syntax_error_is_named_with_its_line(tmp_path):
    (tmp_path / "bad.toml").write_text("seed = 1\ninit_scale = = 2\n")
    with pytest.raises(lr.InputError, match=r"bad\.toml': is not valid TOML: .*line 2"):
        lr.Experiment.load(tmp_path / "bad.toml")
    with pytest.raises(lr.InputError, match="readable file"):
        lr.Experiment.load(tmp_path / "absent.toml")
    (tmp_path / "comma.toml").write_text("seed = 1\nweight_decay = 0,01\n")
    with pytest.raises(lr.InputError) as caught:
        lr.Experiment.load(tmp_path / "comma.toml")
    assert "'weight_decay = 0,01': numbers have a decimal point" in str(caught.value)
    (tmp_path / "list.toml").write_text("widths = [1,2\nseed = 1\n")
    with pytest.raises(lr.InputError) as caught:
        lr.Experiment.load(tmp_path / "list.toml")
    assert "decimal point" not in str(caught.value)


def test_published_numbers_go_when_the_setting_changes():
    panel = studies.load("lyu2024/1a")
    assert panel.with_changes({"seed": 3, "dynamics.rtol": 1e-3}).published == panel.published
    assert panel.with_changes({"task.n": 64}).published is None


def test_published_curves_stay_inside_the_package():
    outside = lr.experiments.Published(source="me", curves="../../../../etc/passwd")
    with pytest.raises(lr.InputError, match=r"^published\.curves"):
        studies.published_curves(outside)


def test_keys_are_those_that_can_be_set():
    experiment = lr.Experiment(task=lr.tasks.SparseClassification())
    keys = experiment.keys()
    for key in keys:
        value = experiment.table()
        for part in key.split("."):
            value = value[part]
        assert experiment.with_changes({key: value}) == experiment


def test_kinds_are_known_by_their_place():
    places = {place.__name__: built_in(place) for place in Choice.__subclasses__()}
    assert places["AbstractModel"] == {
        "DiagonalLinear", "MatrixFactorisation", "MLP", "CommitteeMachine", "Functions",
        "FromEquinox", "FromTorch", "FromFlax", "FromFlaxNNX", "FromHaiku", "Doubled", "Linearised",
        "Transformer", "Centred",
    }  # fmt: skip
    assert places["AbstractLoss"] == {
        "Logistic", "Exponential", "CrossEntropy", "Squared", "Hinge", "SquaredHinge",
    }  # fmt: skip
    assert places["AbstractDynamics"] == {
        "ReducedFlow", "Flow", "GradientDescent", "SGD", "LabelNoiseSGD", "Adam", "AdamW",
        "SmallDecayLimit",
    }  # fmt: skip


def test_a_model_inside_a_model(tmp_path):
    inner = lr.models.MLP(widths=(5,), outputs=3)
    experiment = lr.Experiment(
        task=lr.tasks.ModularArithmetic(p=3), model=lr.models.Doubled(model=inner)
    )
    experiment.save(tmp_path / "mine.toml")
    assert lr.Experiment.load(tmp_path / "mine.toml") == experiment
    assert experiment.value("model.model.widths") == (5,)
    assert {"model.kind", "model.model.widths"} < set(experiment.keys())
    wider = experiment.with_changes({"model.model.widths": (6,)})
    assert wider.model == lr.models.Doubled(model=lr.models.MLP(widths=(6,), outputs=3))
    assert wider.content_hash != experiment.content_hash
    with pytest.raises(lr.InputError, match=r"^model\.model\.outputs = -1"):
        experiment.with_changes({"model.model.outputs": -1})


def test_descriptions_are_json_safe():
    json.dumps(studies.load("lyu2024/1b").table()["task"])


def test_probes_of_the_first_release_spelled_out_mean_the_default():
    first = (
        "train_loss", "test_loss", "train_log_loss", "test_log_loss", "train_accuracy",
        "test_accuracy", "param_norm", "weight_norm_l1", "weight_norm_l2", "margin_l1",
        "margin_l2", "nuclear_norm", "drift", "cosine_to_kernel", "cosine_to_rich",
        "distance_to_kernel", "distance_to_rich",
    )  # fmt: skip
    default = lr.Experiment(task=lr.tasks.SparseClassification())
    assert default.model_copy(update={"probes": first}).content_hash == default.content_hash
    assert default.model_copy(update={"probes": first[1:]}).content_hash != default.content_hash
