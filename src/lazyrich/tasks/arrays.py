"""Training and test arrays of the user."""

import os
from pathlib import Path
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import PRNGKeyArray

from .._core.errors import InputError
from .._core.files import opened
from .._core.npz import archive
from .._core.precision import are_words, in_double, real_array
from ._array_task import AbstractArrayTask
from ._base import Blocks, Samples, Split
from .split_arrays import SplitArrays

_NAMES = ("x_train", "y_train", "x_test", "y_test")


class Arrays(AbstractArrayTask):
    """Training and test arrays of your own, from memory or from a `.npz` file.

    - **Takes** `x_train` `(n, d)`, `y_train` `(n,)` or `(n, c)`, `x_test` `(m, d)`, `y_test`
        like `y_train`, real and finite, of any type. The loss decides what labels mean, see
        [`AbstractLoss.labels`][lazyrich.losses.AbstractLoss]; their type does not matter.
        [`Arrays.load`][lazyrich.tasks.Arrays.load] reads arrays of these names from a file.
    - **Raises** [`InputError`][lazyrich.InputError] for a missing array, shapes that do
        not fit each other, or an entry that is not finite.

    Two tasks are equal if their arrays are equal, from whatever source. To split data into
    training and test set, use [`Arrays.split`][lazyrich.tasks.Arrays.split].
    """

    array_names: ClassVar[tuple[str, ...]] = _NAMES

    x_train: np.ndarray = pydantic.Field(repr=False)
    y_train: np.ndarray = pydantic.Field(repr=False)
    x_test: np.ndarray = pydantic.Field(repr=False)
    y_test: np.ndarray = pydantic.Field(repr=False)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_arrays(cls, fields: dict[str, Any]) -> dict[str, Any]:
        known = {name: _real_array(name, fields[name]) for name in _NAMES if name in fields}
        return {**fields, **known}

    def model_post_init(self, context: object) -> None:
        del context
        for part in ("train", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            if len(x) != len(y):
                raise InputError(
                    f"y_{part}", y.shape, f"should have a label for each of {len(x)} inputs"
                )
        if self.y_train.shape[1:] != self.y_test.shape[1:]:
            shape = self.y_train.shape[1:]
            raise InputError("y_test", self.y_test.shape, f"should end in {shape}, as y_train")
        if self.x_train.shape[1] != self.x_test.shape[1]:
            raise InputError(
                "x_test",
                self.x_test.shape,
                f"should have {self.x_train.shape[1]} columns, as x_train",
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Arrays":
        """Reads `x_train`, `y_train`, `x_test` and `y_test` from a `.npz` file."""
        try:
            # The file may come from anywhere: no pickles are loaded, and sizes are checked first.
            with opened(path) as file, archive(file) as held:
                missing = [name for name in _NAMES if name not in held.names]
                if missing:
                    raise InputError(
                        "path",
                        str(path),
                        f"lacks {', '.join(missing)}; it should contain {', '.join(_NAMES)}",
                    )
                arrays = {name: held.read(name) for name in _NAMES}
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                "path", str(path), f"should be a readable .npz file ({error})"
            ) from None
        return cls(**arrays)

    @classmethod
    def read(cls, path: Path, **options: Any) -> dict[str, np.ndarray]:
        task = cls.load(path)
        return {name: getattr(task, name) for name in _NAMES}

    @staticmethod
    def split(
        x: Any,
        y: Any,
        num_train: int,
        seed: int | None = None,
        *,
        standardise: bool = False,
        stratify: bool = False,
        num_test: int | None = None,
    ) -> SplitArrays:
        """Splits data at random: a [`SplitArrays`][lazyrich.tasks.SplitArrays].

        - **Takes** `x` `(n, d)`; `y`, numbers or words; `num_train`, the number of training
            samples; `seed` of the split. Without `seed`, every `seed` of the experiment draws
            another split, and so does a sweep over `seed`.
        """
        return SplitArrays(
            x=x,
            y=y,
            num_train=num_train,
            num_test=num_test,
            standardise=standardise,
            stratify=stratify,
            split_seed=seed,
        )

    @property
    def is_drawn(self) -> bool:
        return False

    @in_double
    def sample(self, key: PRNGKeyArray) -> Split:
        del key
        train, test = (
            Samples(jnp.asarray(x), jnp.asarray(y, jnp.float64))
            for x, y in ((self.x_train, self.y_train), (self.x_test, self.y_test))
        )
        return Split(train, Blocks(lambda index: test, 1))


def _real_array(name: str, value: Any) -> np.ndarray:
    if name.startswith("y"):
        _check_not_words(name, value)
    array = real_array(value, name).copy()
    ndims = (2,) if name.startswith("x") else (1, 2)
    if array.ndim not in ndims or 0 in array.shape:
        accepted = " or ".join(map(str, ndims))
        raise InputError(name, array.shape, f"should be {accepted}-dimensional and not empty")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        place = ", ".join(map(str, bad[0]))
        raise InputError(f"{name}[{place}]", float(array[tuple(bad[0])]), "should be finite")
    array.setflags(write=False)
    return array


def _check_not_words(name: str, value: Any) -> None:
    try:
        array = np.asarray(value)
    except ValueError:
        return  # named with its key as rows of different lengths
    if are_words(array):
        convert = " converted by .astype(str)" if array.dtype.kind == "S" else ""
        accepted = (
            f"should be numbers: lr.tasks.Arrays.split accepts words{convert}, or number them by "
            "np.unique(y, return_inverse=True)"
        )
        raise InputError(name, f"words ({array.dtype})", accepted)
