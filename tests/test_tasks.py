from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats

import lazyrich as lr
from lazyrich._run.prepared import prepare
from lazyrich.tasks import AbstractTask, Samples, Split
from tests.helpers import built_in


def arrays() -> lr.tasks.Arrays:
    rng = np.random.default_rng(0)
    return lr.tasks.Arrays(
        x_train=rng.normal(size=(4, 3)),
        y_train=np.array([1, -1, 1, -1]),
        x_test=rng.normal(size=(5, 3)),
        y_test=np.ones(5),
    )


TASKS = [
    lr.tasks.SparseClassification(n=8, d=70, num_test=1500),
    lr.tasks.SparseRegression(n=8, d=70, num_test=1500),
    lr.tasks.SeparatedClassification(n=8, d=70, num_test=1500),
    lr.tasks.MatrixCompletion(d=9, num_observed=30),
    lr.tasks.ModularArithmetic(p=7),
    lr.tasks.PolynomialRegression(n=8, d=5, num_test=1500),
    lr.tasks.StudentTeacher(n=8, num_test=1500),
    lr.tasks.Images(n=40, num_test=30),
    lr.tasks.PolynomialRegression(n=8, d=5, num_test=9, convention="unit_inputs", coupled=True),
    lr.tasks.KernelEigenvector(n=8, d=5, num_test=9, index=2),
    arrays(),
    lr.tasks.Arrays.split(arrays().x_test, np.array([1, -1, 1, -1, 1]), 3),
]


def name(task: AbstractTask) -> str:
    return type(task).__name__


def test_every_task_is_tested():
    assert {name(task) for task in TASKS} == built_in(AbstractTask)


def together(split: Split) -> Samples:
    blocks = list(split.test)
    with jax.enable_x64(True):
        x, y = (jnp.concatenate([getattr(block, name) for block in blocks]) for name in "xy")
        return Samples(x, y)


@pytest.mark.parametrize("task", TASKS, ids=name)
def test_a_key_names_the_data(task):
    one, two = task.sample(jr.key(3)), task.sample(jr.key(3))
    np.testing.assert_array_equal(one.train.x, two.train.x)
    np.testing.assert_array_equal(one.train.y, two.train.y)
    # Test blocks are made again at every pass.
    np.testing.assert_array_equal(together(one).x, together(one).x)
    np.testing.assert_array_equal(together(one).x, together(two).x)
    if not isinstance(task, lr.tasks.Arrays):
        other = task.sample(jr.key(4))
        assert not np.array_equal(one.train.x, other.train.x)
        if isinstance(task, lr.tasks.MatrixCompletion):
            sizes = (task.d**2 - task.num_observed, task.num_observed, 2)
        elif isinstance(task, lr.tasks.ModularArithmetic):
            sizes = (30, 19, 14)
        elif isinstance(task, lr.tasks.Images):
            sizes = (30, 40, 64)
        elif isinstance(task, lr.tasks.SplitArrays):
            sizes = (2, 3, 3)
        else:
            sizes = (task.num_test, task.n, task.d)
        assert together(one).x.shape == (sizes[0], sizes[2])
        assert one.train.x.shape == (sizes[1], sizes[2])
        # Train and test samples share no row.
        train_rows = {row.tobytes() for row in np.asarray(one.train.x)}
        assert not train_rows & {row.tobytes() for row in np.asarray(together(one).x)}
    classes = isinstance(task, lr.tasks.ModularArithmetic | lr.tasks.Images)
    assert one.train.y.dtype == (jnp.int32 if classes else jnp.float64)


@pytest.mark.parametrize("task", TASKS, ids=name)
def test_the_null_control_has_random_labels_where_the_task_has_them(task):
    changes = task.null_control()
    assert (changes is None) == ("random_labels" not in type(task).model_fields)
    if changes is not None:
        assert changes == {"random_labels": True}
        assert task.model_copy(update=changes).null_control() == {}


def test_random_labels_are_advised_only_where_the_task_has_them():
    times = np.geomspace(1.0, 1e5, 200)
    curves = {"train_accuracy": np.where(times > 3, 1.0, 0.5),
              "test_accuracy": np.where(times > 3000, 1.0, 0.5)}  # fmt: skip
    log = lr.record(times, curves)
    assert lr.summarise(log)["outcome"] == "grokked"
    for task, wanted in ((lr.tasks.ModularArithmetic(), True), (lr.tasks.MatrixCompletion(), False),
                         (None, True)):  # fmt: skip
        text = "" if task is None else f'[task]\nkind = "{name(task)}"\n'
        advice = lr.summarise(log.assign_attrs(experiment=text) if text else log)["advice"]
        assert advice.startswith("repeat it with other seeds")
        assert ("random labels" in advice) == wanted


def test_random_labels_say_nothing_of_the_inputs():
    task = lr.tasks.SparseClassification(n=4000, d=40, num_test=1000, random_labels=True)
    split = task.sample(jr.key(0))
    x, y = np.asarray(split.train.x, float), np.asarray(split.train.y)
    assert set(y.tolist()) == {-1.0, 1.0}
    assert abs(np.mean(y)) < 4 / 4000**0.5
    assert np.max(np.abs(x.T @ y)) / 4000 < 4 / 4000**0.5
    one, two = split.test
    assert not np.array_equal(one.y, two.y)


def test_sparse_targets_are_a_sum_of_the_first_coordinates():
    train = lr.tasks.SparseRegression(n=500, d=30, k=4).sample(jr.key(1)).train
    x, y = np.asarray(train.x, float), np.asarray(train.y)
    weights = np.linalg.lstsq(x, y)[0]
    np.testing.assert_allclose(np.abs(weights[:4]), 0.5)
    np.testing.assert_allclose(weights[4:], 0, atol=1e-12)
    with pytest.raises(lr.InputError, match=r"k = 4: should be at most d = 3"):
        lr.tasks.SparseRegression(d=3, k=4)


def test_sparse_labels_are_a_vote_of_the_first_coordinates():
    task = lr.tasks.SparseClassification(n=2000, d=64, k=3, num_test=1000)
    split = task.sample(jr.key(1))
    for part in (split.train, together(split)):
        x, y = np.asarray(part.x, int), np.asarray(part.y)
        assert set(np.unique(x)) == {-1, 1}
        # The teacher's signs, read off the correlations, explain every label.
        teacher = np.sign(x[:, :3].T @ y)
        np.testing.assert_array_equal(np.sign(x[:, :3] @ teacher), y)
        assert abs(x.mean()) < 5 / np.sqrt(x.size)
        assert abs(x[:, 3:].T @ y / len(y)).max() < 5 / np.sqrt(len(y))


def test_separated_classes_have_the_margin_they_name():
    task = lr.tasks.SeparatedClassification(n=500, d=50, gamma=4.0, num_test=1000)
    split = task.sample(jr.key(2))
    x, y = np.asarray(split.train.x, float), np.asarray(split.train.y)
    # The mean of y x is (gamma / 2 + E|z_1|) w*: signs of w* can be read off it.
    teacher = np.sign(y @ x) / np.sqrt(50)
    for part in (split.train, together(split)):
        margins = np.asarray(part.y) * (np.asarray(part.x, float) @ teacher)
        assert margins.min() >= 2.0 - 1e-5
        # Beyond gamma / 2 the margin is |z_1|, half normal.
        assert margins.mean() - 2.0 == pytest.approx(np.sqrt(2 / np.pi), abs=0.1)


def right(cosine: float, gamma: float) -> float:
    """How often a linear rule at an angle to the separating direction is right on its data.

    Along the direction inputs are gamma / 2 + |g|, across it h, g and h normal.
    """
    g, weights = np.polynomial.hermite_e.hermegauss(80)
    side = cosine * (gamma / 2 + np.abs(g)) / np.sqrt(1 - cosine**2)
    return float(weights @ scipy.stats.norm.cdf(side) / np.sum(weights))


def test_a_separating_direction_of_few_coordinates():
    task = lr.tasks.SeparatedClassification(n=500, d=40, gamma=3.0, num_test=4000, k=4)
    split = task.sample(jr.key(2))
    x, y = np.asarray(split.train.x, float), np.asarray(split.train.y)
    mean = y @ x / len(y)
    teacher = np.sign(mean[:4]) / 2
    np.testing.assert_allclose(mean[:4] / teacher, 1.5 + np.sqrt(2 / np.pi), rtol=0.15)
    assert np.max(np.abs(mean[4:])) < 4 / len(y) ** 0.5
    test = together(split)
    x_test, y_test = np.asarray(test.x, float), np.asarray(test.y)
    assert np.min(y_test * (x_test[:, :4] @ teacher)) >= 1.5 - 1e-5
    # Every coordinate of them alone, at cosine 1/2, and those after them at none.
    found = np.mean(y_test[:, None] * x_test * np.sign(mean) > 0, axis=0)
    error = 4 * np.sqrt(0.25 / len(y_test))
    np.testing.assert_allclose(found[:4], right(0.5, 3.0), atol=error)
    np.testing.assert_allclose(found[4:], 0.5, atol=error)
    # Over all coordinates it is what it was.
    all_of_them = task.model_copy(update={"k": 40}).sample(jr.key(2)).train
    unsaid = task.model_copy(update={"k": 0}).sample(jr.key(2)).train
    np.testing.assert_array_equal(all_of_them.x, unsaid.x)
    with pytest.raises(lr.InputError, match=r"^k = 41: should be at most d = 40"):
        lr.tasks.SeparatedClassification(d=40, k=41)


def test_margins_in_the_plane_do_not_see_how_few_coordinates_separate():
    # Rotations leave Gaussians as they are: cosines of the max L2 margin with the separating
    # direction have one law, whatever k. The rich predictor finds a single coordinate.
    cosines = {}
    for k in (1, 300):
        for seed in range(12):
            task = lr.tasks.SeparatedClassification(n=16, d=300, gamma=2.0, k=k, num_test=2000)
            split = task.sample(jr.key(seed))
            x, y = np.asarray(split.train.x, float), np.asarray(split.train.y)
            found = lr.predictors.l2_max_margin(split.train.x, split.train.y).weights
            teacher = np.zeros(300)
            with jax.enable_x64(True):
                signs = jr.rademacher(jr.split(jr.key(seed), 3)[0], (300,), jnp.float64)
            teacher[:k] = np.asarray(signs)[:k] / np.sqrt(k)
            assert np.min(y * (x @ teacher)) >= 1 - 1e-5
            cosines[k, seed] = float(found @ teacher / np.linalg.norm(found))
            if seed == 0:
                test = together(split)
                hits = np.mean(np.asarray(test.y) * (np.asarray(test.x) @ found) > 0)
                assert hits == pytest.approx(right(cosines[k, 0], 2.0), abs=0.045)
    few, many = ([cosines[k, seed] for seed in range(12)] for k in (1, 300))
    spread = np.sqrt((np.var(few) + np.var(many)) / 11)
    assert abs(np.mean(few) - np.mean(many)) < 3 * spread
    assert 0.1 < np.mean(few) < 0.9


def test_random_labels_of_separated_inputs():
    task = lr.tasks.SeparatedClassification(n=2000, d=20, gamma=4.0, k=1, num_test=1500)
    plain, random = task, task.model_copy(update={"random_labels": True})
    one, two = plain.sample(jr.key(0)), random.sample(jr.key(0))
    np.testing.assert_array_equal(one.train.x, two.train.x)
    for before, after in ((one.train, two.train), (together(one), together(two))):
        y = np.asarray(after.y)
        assert set(y.tolist()) == {-1.0, 1.0}
        assert abs(np.mean(y)) < 4 / len(y) ** 0.5
        assert abs(np.mean(y * np.asarray(before.y))) < 4 / len(y) ** 0.5
    blocks = [np.asarray(block.y) for block in two.test]
    assert not np.array_equal(blocks[0], blocks[1])


def test_arrays_survive_a_file(tmp_path):
    task = arrays()
    task.save(tmp_path / "data.npz")
    again = lr.tasks.Arrays.load(tmp_path / "data.npz")
    assert again == task
    assert hash(again) == hash(task)
    changed = lr.tasks.Arrays(
        x_train=task.x_train + 1, y_train=task.y_train, x_test=task.x_test, y_test=task.y_test
    )
    assert changed != task


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": [[np.nan, 1, 2]] * 4}, r"x_train\[0, 0\] = nan: should be finite"),
        (
            {"x_train": np.zeros((0, 3))},
            r"x_train = \(0, 3\): should be 2-dimensional and not empty",
        ),
        ({"x_train": np.zeros(3)}, "x_train = .*2-dimensional"),
        ({"y_train": [1, -1]}, "y_train = .*a label for each of 4 inputs"),
        ({"x_test": np.zeros((5, 2))}, "x_test = .*3 columns"),
        ({"x_train": [["a"] * 3] * 4}, "x_train = .*real numbers"),
    ],
)
def test_bad_arrays_are_refused(change, message):
    task = arrays()
    fields = {k: getattr(task, k) for k in ("x_train", "y_train", "x_test", "y_test")}
    with pytest.raises(lr.InputError, match=message):
        lr.tasks.Arrays(**{**fields, **change})


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(lr.InputError, match=r"path = .*readable .npz file"):
        lr.tasks.Arrays.load(tmp_path / "absent.npz")
    np.savez(tmp_path / "part.npz", x_train=np.zeros((1, 1)))
    with pytest.raises(lr.InputError, match="lacks y_train, x_test, y_test"):
        lr.tasks.Arrays.load(tmp_path / "part.npz")
    names = ("x_train", "y_train", "x_test", "y_test")
    contents: dict[str, Any] = dict.fromkeys(names, np.array([{}]))
    np.savez(tmp_path / "evil.npz", **contents)
    with pytest.raises(lr.InputError, match=r"readable .npz file.*Python objects"):
        lr.tasks.Arrays.load(tmp_path / "evil.npz")


@pytest.mark.parametrize("fields", [{"n": 0}, {"k": 2}, {"k": 5, "d": 3}, {"n": 1.5}, {"m": 1}])
def test_bad_sizes_are_refused(fields):
    (key,) = fields.keys() - {"d"}
    with pytest.raises(lr.InputError, match=f"^{key} = "):
        lr.tasks.SparseClassification(**fields)


def test_matrix_completion_is_the_multiplication_table():
    split = lr.tasks.MatrixCompletion(d=9, num_observed=30).sample(jr.key(0))
    test = together(split)
    table = np.full((9, 9), np.nan)
    for part in (split.train, test):
        table[tuple(np.asarray(part.x).T)] = part.y
    np.testing.assert_allclose(table, np.outer(np.arange(9), np.arange(9)) / 81)
    with pytest.raises(lr.InputError, match=r"num_observed = 81: should be below d² = 81"):
        lr.tasks.MatrixCompletion(d=9, num_observed=81)


def residues(samples: Samples, p: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = np.asarray(samples.x)
    assert x.sum(axis=1).tolist() == [2] * len(x)
    return x[:, :p].argmax(axis=1), x[:, p:].argmax(axis=1), np.asarray(samples.y)


OPERATIONS: dict[Any, Any] = {
    "addition": lambda a, b, c: (a + b - c) % 11 == 0,
    "subtraction": lambda a, b, c: (a - b - c) % 11 == 0,
    "multiplication": lambda a, b, c: (a * b - c) % 11 == 0,
    "division": lambda a, b, c: (c * b - a) % 11 == 0,
    "x2_plus_xy": lambda a, b, c: (a * (a + b) - c) % 11 == 0,
    max: lambda a, b, c: np.maximum(a, b) == c,
}


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_modular_arithmetic_is_what_it_says(operation):
    function = np.maximum if operation is max else operation
    split = lr.tasks.ModularArithmetic(p=11, operation=function).sample(jr.key(0))
    parts = [residues(part, 11) for part in (split.train, together(split))]
    a, b, c = (np.concatenate(column) for column in zip(*parts, strict=True))
    assert np.all(OPERATIONS[operation](a, b, c))
    # Every pair once; division leaves out zero divisors.
    num_pairs = 110 if operation == "division" else 121
    assert len({*zip(a.tolist(), b.tolist(), strict=True)}) == len(a) == num_pairs
    assert len(parts[0][0]) == int(0.4 * num_pairs)


def test_modular_addition_has_the_published_sizes():
    split = lr.tasks.ModularArithmetic().sample(jr.key(0))
    assert (len(split.train.y), len(together(split).y)) == (3763, 5646)


def test_random_labels_have_nothing_to_do_with_the_inputs():
    task = lr.tasks.ModularArithmetic(p=31, random_labels=True)
    a, b, c = residues(task.sample(jr.key(0)).train, 31)
    # Right by chance alone: 384 pairs, 12.4 expected, less than 5 standard deviations more.
    assert np.sum((a + b - c) % 31 == 0) < 12.4 + 5 * 12.4**0.5
    assert np.bincount(c, minlength=31).min() > 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"p": 9, "operation": "division"}, "p = 9: should be prime"),
        (
            {"p": 3, "train_fraction": 0.01},
            "train_fraction = 0.01: should leave training and test pairs",
        ),
        ({"operation": "power"}, "operation"),
    ],
)
def test_bad_arithmetic_is_refused(fields, message):
    with pytest.raises(lr.InputError, match=message):
        lr.tasks.ModularArithmetic(**fields)


def test_own_operations_must_give_residues():
    task = lr.tasks.ModularArithmetic(p=5, operation=lambda a, b: a / (b + 1))
    with pytest.raises(lr.InputError, match=r"operation = .*float64.*whole numbers"):
        task.sample(jr.key(0))


def test_polynomial_regression_is_a_square():
    # y = (beta . x)^2 / 2 with beta ~ N(0, I): of mean |beta|^2 / (2 d).
    split = lr.tasks.PolynomialRegression(n=4000, d=3, num_test=5).sample(jr.key(1))
    x, y = np.asarray(split.train.x), np.asarray(split.train.y)
    assert np.var(x) == pytest.approx(1 / 3, rel=0.05)
    # Exactly quadratic: a fit by all products of two coordinates leaves nothing.
    products = np.stack([x[:, i] * x[:, j] for i in range(3) for j in range(i, 3)], axis=1)
    fit = np.linalg.lstsq(products, y, rcond=None)[0]
    np.testing.assert_allclose(products @ fit, y, atol=1e-12)
    # Of rank one: the square of a linear function.
    matrix = np.array([[fit[0], fit[1] / 2, fit[2] / 2], [fit[1] / 2, fit[3], fit[4] / 2],
                       [fit[2] / 2, fit[4] / 2, fit[5]]])  # fmt: skip
    values = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(values[:2], 0.0, atol=1e-12)
    assert values[2] > 0


def test_polynomial_regression_in_both_conventions():
    small = lr.tasks.PolynomialRegression(n=4000, d=10)
    unit = small.model_copy(update={"convention": "unit_inputs"})
    x, y = (np.asarray(a) for a in jax.tree.leaves(small.sample(jr.key(0)).train))
    other_x, other_y = (np.asarray(a) for a in jax.tree.leaves(unit.sample(jr.key(0)).train))
    assert x.var() == pytest.approx(1 / 10, rel=0.05)
    np.testing.assert_allclose(other_x, np.sqrt(10) * x)
    np.testing.assert_allclose(other_y, 2 * y)
    beta = np.asarray(small.teacher(jr.key(0)))
    np.testing.assert_allclose(y, 0.5 * (x @ beta) ** 2, rtol=1e-12)
    np.testing.assert_allclose(other_y, (other_x @ beta) ** 2 / 10, rtol=1e-12)


@pytest.mark.usefixtures("double")
def test_the_coupled_draw_uses_the_same_numbers_twice():
    task = lr.tasks.PolynomialRegression(n=6, d=5, coupled=True)
    experiment = lr.Experiment(
        task=task, model=lr.models.CommitteeMachine(width=8), loss=lr.losses.Squared()
    )
    prepared = prepare(experiment)
    weights, x = np.asarray(prepared.problem.params), np.asarray(prepared.data.split.train.x)
    np.testing.assert_allclose(weights[:6], np.sqrt(5) * x, rtol=1e-12)
    np.testing.assert_allclose(weights[0], task.teacher(prepared.data.data_key), rtol=1e-12)
    apart = prepare(experiment.with_changes({"task.coupled": False}))
    shared = np.isin(
        np.asarray(apart.problem.params), np.sqrt(5) * np.asarray(apart.data.split.train.x)
    )
    assert not shared.any()


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_labels_are_an_eigenvector_of_the_centred_kernel():
    experiment = lr.Experiment(
        task=lr.tasks.KernelEigenvector(n=8, d=3, num_test=6, index=2),
        model=lr.models.Centred(model=lr.models.CommitteeMachine(width=4)),
        loss=lr.losses.Squared(),
        init_scale=2.0,
    )
    prepared = prepare(experiment)
    x = jnp.concatenate([prepared.data.split.train.x, prepared.data.test.x])
    y = np.concatenate([prepared.data.split.train.y, prepared.data.test.y])
    kernel = np.asarray(experiment.model.tangent_kernel(prepared.problem.params, x))
    middle = np.eye(14) - 1 / 14
    values = np.linalg.eigvalsh(middle @ kernel @ middle)
    np.testing.assert_allclose(middle @ kernel @ middle @ y, values[-2] * y, atol=1e-10)
    assert np.mean(y**2) == pytest.approx(1.0)
    assert y[np.argmax(abs(y))] > 0
    with pytest.raises(lr.InputError, match=r"^index = 17: should be less than the 17 inputs"):
        lr.tasks.KernelEigenvector(n=8, num_test=9, index=17)
