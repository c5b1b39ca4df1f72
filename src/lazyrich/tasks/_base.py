"""What a task is, and the data it yields."""

import abc
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

import equinox as eqx
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray, Shaped

from .._core.description import Choice

Meaning = Literal["signs", "classes", "reals"]
"""What a loss takes labels for: -1 or 1, whole numbers that name classes, or real numbers."""


class Samples(eqx.Module):
    """Inputs `x` of shape `(n, d)` in any real type; labels `y`, one or a row a sample.

    Inputs keep the narrowest type that holds them exactly; a model that does not compute in it
    gets them in float64. Labels are `(n,)`, or `(n, c)` for `c` outputs, of any real type: what
    they mean is decided by the loss and the model's outputs.
    """

    x: Shaped[Array, "n d"]
    y: Shaped[Array, " n *c"]


class Blocks(eqx.Module):
    """Samples too many to hold at once, made a block at a time, the same every time."""

    make: Callable[[int], Samples] = eqx.field(static=True)
    num_blocks: int = eqx.field(static=True)

    def __iter__(self) -> Iterator[Samples]:
        return map(self.make, range(self.num_blocks))


class Split(eqx.Module):
    """Training samples in memory and test samples in blocks."""

    train: Samples
    test: Blocks


# Rows of a test block: 50 MB as `int8` and 200 MB as `float32` at d = 100,000.
TEST_BLOCK = 500


class Sizes(NamedTuple):
    """How large a task's data are, known from its description only.

    - `num_train` and `num_test` samples of `dim` inputs, `num_bytes` each; `block`, test samples
        that are in memory at once where they come in blocks.
    - `keys`, the fields that these three numbers are due to; `beside`, bytes of anything else
        by the field that it is due to.
    """

    num_train: int
    dim: int
    num_test: int
    num_bytes: int = 8
    keys: tuple[str, str, str] = ("n", "d", "num_test")
    block: int = TEST_BLOCK
    beside: Mapping[str, int] = {}


class AbstractTask(Choice):
    """What is to be learned: a frozen description and a pure function of a key."""

    @property
    def drawn_with_model(self) -> bool:
        """Whether the key of the data is the one that the model starts from."""
        return False

    @property
    def labels_from_start(self) -> bool:
        """Whether labels hang on the model's start, see `labelled`."""
        return False

    def labelled(self, split: Split, kernel: Callable[[Array], Array]) -> Split:
        """The data with their labels, given the tangent kernel at the model's start.

        For tasks that ask for it; all others know their labels from their key.
        """
        del kernel
        return split

    def sizes(self) -> Sizes | None:
        """How large the data are, so that what cannot fit is refused; None if unknown."""
        return None

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray) -> Split:
        """Draws the data; the description and the key name them exactly."""

    @property
    def is_drawn(self) -> bool:
        """Whether the data depend on the key."""
        return True

    def sample_for(self, key: PRNGKeyArray, meaning: Meaning) -> Split:
        """The data with labels as a loss takes them, for tasks that map theirs."""
        del meaning
        return self.sample(key)

    def mapping(self, meaning: Meaning) -> str:
        """What labels have become for such a loss, in one line; empty if they are as they were."""
        del meaning
        return ""

    def with_data(self, folder: str) -> "AbstractTask | None":
        """The same task on data from files in `folder`, None if it reads none."""
        del folder
        return None


def test_blocks(
    draw: Callable[[PRNGKeyArray, int], Samples], key: PRNGKeyArray, num_test: int
) -> Blocks:
    """`num_test` samples in blocks, block `i` drawn from `fold_in(key, i)`."""
    num_blocks = -(-num_test // TEST_BLOCK)

    def make(index: int) -> Samples:
        size = min(TEST_BLOCK, num_test - index * TEST_BLOCK)
        return draw(jr.fold_in(key, index), size)

    return Blocks(make, num_blocks)
