"""Data of the user, split at random into training and test set."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pydantic
from annotated_types import Ge
from jaxtyping import Bool, Float, Int, PRNGKeyArray, Real, Shaped

from .._core.errors import InputError
from .._core.precision import are_words, check_unmasked, in_double, native, step_to_reals
from ._array_task import AbstractArrayTask
from ._base import Blocks, Meaning, Samples, Split
from ._data_files import read_table, whole_label

# The largest number of different labels that can be classes, and the longest label in letters.
_MAX_CLASSES, _MAX_LETTERS = 10_000, 200


class SplitArrays(AbstractArrayTask):
    """Samples of your own, split into training and test data at random.

    Every `seed` of an experiment draws another split; with `split_seed` all seeds have the same
    split.

    - **Takes** `x` `(n, d)`, real numbers; `y` `(n,)` or `(n, c)`, real numbers, or words of shape
        `(n,)`, where `(n, 1)` means the same as `(n,)`; `num_train` training samples; `num_test`
        test samples, by default all others. `standardise`, whether each column is shifted and
        scaled to mean 0 and variance 1 over the training samples; a column that is constant there
        is only shifted. `stratify`, whether each label has the same share of the training data as
        of all data, up to one sample.
    - Labels are converted to what the loss requires. For a loss of signs two different numbers or
        words become -1 and 1, in sorted order. For a loss of classes the labels become 0, 1, ...
        unless they already are classes. `mapping` describes the conversion, and so does the
        attribute `labels` of the record.
    - In a TOML file or on a command line, `path` names a CSV file, and `label` the column of the
        labels by name or by number from 0 on, by default the last one; or `path` names a `.npz`
        file of arrays `x` and `y`, and `label` the array of labels if it is not `y`.
    - **Raises** [`InputError`][lazyrich.InputError] for shapes that do not fit each other, an
        entry that is not finite, too few samples, or labels that cannot be converted.
    """

    array_names: ClassVar[tuple[str, ...]] = ("x", "y")
    file_options: ClassVar[tuple[str, ...]] = ("label",)

    x: np.ndarray = pydantic.Field(repr=False)
    y: np.ndarray = pydantic.Field(repr=False)
    num_train: Annotated[int, Ge(1)]
    num_test: Annotated[int, Ge(1)] | None = None
    standardise: bool = False
    stratify: bool = False
    split_seed: Annotated[int, Ge(0), pydantic.Field(lt=2**63)] | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_arrays(cls, fields: dict[str, Any]) -> dict[str, Any]:
        known: dict[str, Any] = {}
        if "x" in fields:
            known["x"] = _inputs(fields["x"])
        if "y" in fields:
            known["y"] = _labels(fields["y"])
        return {**fields, **known}

    def model_post_init(self, context: object) -> None:
        del context
        n = len(self.x)
        if len(self.y) != n:
            raise InputError("y", self.y.shape, f"should have a label for each of {n} inputs")
        if self.num_train + (self.num_test or 1) > n:
            accepted = f"should leave {self.num_test or 1} or more of {n} samples for the test set"
            raise InputError("num_train", self.num_train, accepted)
        if self.stratify and self._column.ndim > 1:
            raise InputError("stratify", True, "needs one label for each sample")
        if self.stratify:
            found, places = _classes(self._column)
            if len(found) > self.num_train and _are_numbers(found, self._column):
                accepted = (
                    f"needs labels that are classes, and y has {len(found)} different numbers: "
                    "leave it out for a regression"
                )
                raise InputError("stratify", True, accepted)
            if int(places.max()) >= self.num_train:
                accepted = f"should be {int(places.max()) + 1} or more: one sample of each label"
                raise InputError("num_train", self.num_train, accepted)

    @classmethod
    def read(cls, path: Path, **options: Any) -> dict[str, np.ndarray]:
        return read_table(path, whole_label(options.get("label")))

    @property
    def is_drawn(self) -> bool:
        return self.split_seed is None

    @in_double
    def sample(self, key: PRNGKeyArray) -> Split:
        return self.sample_for(key, "reals")

    @in_double
    def sample_for(self, key: PRNGKeyArray, meaning: Meaning) -> Split:
        y, _ = self._mapped(meaning)
        if self.split_seed is not None:
            key = jr.key(self.split_seed)
        order = np.asarray(jr.permutation(key, len(self.x)))
        if self.stratify:
            order = order[_stratified(_classes(self._column)[1][order], self.num_train)]
        last = None if self.num_test is None else self.num_train + self.num_test
        train, test = order[: self.num_train], order[self.num_train : last]
        x = self.x
        if self.standardise:
            x = _standardised(x, train)
        held_out = Samples(jnp.asarray(x[test]), jnp.asarray(y[test]))
        return Split(
            Samples(jnp.asarray(x[train]), jnp.asarray(y[train])),
            Blocks(lambda index: held_out, 1),
        )

    @property
    def _column(self) -> Shaped[np.ndarray, " n *c"]:
        """The labels, `(n,)` if there is one for each sample."""
        return self.y[:, 0] if self.y.shape[1:] == (1,) else self.y

    def mapping(self, meaning: Meaning) -> str:
        return self._mapped(meaning)[1]

    def _mapped(self, meaning: Meaning) -> tuple[Real[np.ndarray, " n *c"], str]:
        """Labels in the meaning that a loss requires, and one line on their conversion."""
        y = self._column
        words = y.dtype.kind in "US"
        if y.ndim > 1 or (meaning == "reals" and not words):
            return y.astype(float), ""
        found, places = _classes(y)
        if meaning == "classes":
            if not words and np.array_equal(found, np.arange(len(found))):
                return places.astype(np.int32), ""
            return places.astype(np.int32), _described(found, range(len(found)))
        if not words and set(found.tolist()) <= {-1, 1}:
            return y.astype(float), ""
        if len(found) != 2:
            raise _not_signs(found)
        return 2.0 * places - 1.0, _described(found, (-1, 1))


def _not_signs(found: np.ndarray) -> InputError:
    """The error for labels that cannot be signs. Its key is that of an experiment."""
    some = ", ".join(_names(found[:4])) + (", ..." if len(found) > 4 else "")
    if len(found) == 1:
        accepted = "there is only one label; two different ones are needed"
        return InputError("task.y", some, accepted)
    losses = "loss CrossEntropy for more classes"
    if found.dtype.kind not in "US":
        losses += ", or loss Squared for numbers"
    accepted = f"should be two different labels; use {losses}"
    return InputError("task.y", f"{len(found)} different labels: {some}", accepted)


def _are_numbers(found: np.ndarray, y: np.ndarray) -> bool:
    """Whether labels look like the numbers of a regression: not whole, or nearly all different."""
    if y.dtype.kind in "US":
        return False
    return 2 * len(found) > len(y) or bool(np.any(found != np.round(found)))


def _described(found: np.ndarray, values: Any) -> str:
    some = [f"{name} is {value}" for name, value in zip(_names(found), values, strict=True)]
    return ", ".join(some[:12]) + (f", ... ({len(some)} classes)" if len(some) > 12 else "")


def _names(found: np.ndarray) -> list[str]:
    return [name if isinstance(name, str) else f"{name:g}" for name in found.tolist()]


def _classes(y: np.ndarray) -> tuple[np.ndarray, Int[np.ndarray, " n"]]:
    found, places = np.unique(y, return_inverse=True)
    if len(found) > _MAX_CLASSES:
        accepted = f"should be classes, at most {_MAX_CLASSES}; for a regression use loss Squared"
        raise InputError("task.y", f"{len(found)} different labels", accepted)
    return found, places


def _standardised(x: np.ndarray, train: Int[np.ndarray, " k"]) -> Float[np.ndarray, "n d"]:
    """Columns shifted and scaled to mean 0 and variance 1 over the training samples."""
    training = x[train].astype(float)
    mean = training.mean(axis=0)
    # Divided by the largest entry first, because squares of numbers above 1e154 overflow.
    size = np.max(np.abs(training - mean), axis=0, initial=0.0)
    flat = size <= 1e-12 * np.max(np.abs(training), axis=0, initial=0.0)
    size = np.where(flat, 1.0, size)
    deviation = np.where(flat, 1.0, np.sqrt(np.mean(((training - mean) / size) ** 2, axis=0)))
    return (x - mean) / size / deviation


def _stratified(places: Int[np.ndarray, " n"], num_train: int) -> Int[np.ndarray, " n"]:
    """An order whose first `num_train` entries contain each label's share, up to one sample.

    Shares are rounded by the largest remainder, and each label has at least one sample.
    """
    counts = np.bincount(places)
    exact = counts * num_train / len(places)
    shares = np.minimum(np.maximum(np.floor(exact).astype(int), 1), counts)
    while (short := num_train - int(shares.sum())) != 0:
        room = (shares < counts) if short > 0 else (shares > 1)
        gap = np.where(room, (exact - shares) * np.sign(short), -np.inf)
        shares[np.argmax(gap)] += np.sign(short)
    first: Bool[np.ndarray, " n"] = np.zeros(len(places), bool)
    for label, share in enumerate(shares.tolist()):
        first[np.flatnonzero(places == label)[:share]] = True
    return np.concatenate([np.flatnonzero(first), np.flatnonzero(~first)])


def _inputs(value: Any) -> np.ndarray:
    check_unmasked(value, "x")
    x = native(np.array(value))
    if x.dtype.kind not in "iuf":
        accepted = f"should be an array of real numbers: {step_to_reals(x)}"
        raise InputError("x", x.dtype.name, accepted)
    if x.ndim != 2 or 0 in x.shape:
        raise InputError("x", x.shape, "should be 2-dimensional and not empty")
    return _finite("x", x)


def _labels(value: Any) -> np.ndarray:
    check_unmasked(value, "y")
    y = native(np.array(value))
    if y.dtype.kind == "O" and are_words(y):
        y = y.astype(str)
    if y.dtype.kind not in "iufU":
        step = "convert it by .astype(str)" if are_words(y) else step_to_reals(y)
        accepted = f"should be an array of real numbers or of words: {step}"
        raise InputError("y", y.dtype.name, accepted)
    if y.dtype.kind == "U" and y.shape[1:] == (1,):
        y = y[:, 0]
    if y.ndim not in (1, 2) or 0 in y.shape or (y.ndim == 2 and y.dtype.kind == "U"):
        accepted = "should be 1-dimensional, or (n, c) for numbers, and not empty"
        raise InputError("y", y.shape, accepted)
    if y.dtype.kind == "U":
        if y.dtype.itemsize > 4 * _MAX_LETTERS:
            longest = y.dtype.itemsize // 4
            accepted = f"should have at most {_MAX_LETTERS} letters"
            raise InputError("y", f"a label of {longest} letters", accepted)
        y.setflags(write=False)
        return y
    return _finite("y", y)


def _finite(name: str, array: np.ndarray) -> np.ndarray:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        place = ", ".join(map(str, bad[0]))
        raise InputError(f"{name}[{place}]", float(array[tuple(bad[0])]), "should be finite")
    array.setflags(write=False)
    return array
