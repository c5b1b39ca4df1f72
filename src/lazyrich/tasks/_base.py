"""The base class of tasks, and the data that a task returns."""

import abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from .._core.description import Choice
from .._core.precision import in_double

Meaning = Literal["signs", "classes", "reals"]
"""The meaning of labels: -1 or 1, class numbers, or real numbers."""


class Samples(eqx.Module):
    """Inputs `x` of shape `(n, d)` and labels `y`, one or one row for each sample, of real types.

    Inputs keep the narrowest type that holds them exactly; a model that cannot compute in this
    type gets them in float64. Labels have shape `(n,)`, or `(n, c)` for `c` outputs. The loss and
    the model's outputs decide what labels mean.
    """

    x: Shaped[Array, "n d"]
    y: Shaped[Array, " n *c"]


class Blocks(eqx.Module):
    """Samples made block by block, because all would not fit in memory; the same every time."""

    make: Callable[[int], Samples] = eqx.field(static=True, converter=in_double)
    num_blocks: int = eqx.field(static=True)

    def __iter__(self) -> Iterator[Samples]:
        return map(self.make, range(self.num_blocks))


class Split(eqx.Module):
    """Training samples in memory and test samples in blocks."""

    train: Samples
    test: Blocks


# Rows of a test block: 50 MB as `int8` and 200 MB as `float32` at d = 100,000.
TEST_BLOCK = 500


@dataclass(frozen=True)
class Sizes:
    """The size of a task's data, computed from the description only.

    - `num_train` and `num_test` samples of `dim` inputs, `num_bytes` bytes for each input;
        `block`, the number of test samples in memory at once if they come in blocks.
    - `keys`, the fields that set `num_train`, `dim` and `num_test`; `other`, the bytes of any
        further arrays, keyed by the field that sets their size.
    """

    num_train: int
    dim: int
    num_test: int
    num_bytes: int = 8
    keys: tuple[str, str, str] = ("n", "d", "num_test")
    block: int = TEST_BLOCK
    other: Mapping[str, int] = field(default_factory=dict)


class AbstractTask(Choice):
    """A learning problem: a frozen description, and data as a pure function of a key."""

    file_options: ClassVar[tuple[str, ...]] = ()
    """Keys other than `path` that say how to read a file of data."""

    @property
    def drawn_with_model(self) -> bool:
        """Whether the data are drawn with the key that also initialises the model."""
        return False

    @property
    def labels_from_start(self) -> bool:
        """Whether labels depend on the initialised model, see `labelled`."""
        return False

    def labelled(self, split: Split, kernel: Callable[[Array], Array]) -> Split:
        """The data with labels computed from the tangent kernel of the initialised model.

        Only for tasks with `labels_from_start`; other tasks return `split` unchanged.
        """
        del kernel
        return split

    @property
    def num_indices(self) -> int | None:
        """The number of rows and columns, if inputs are places in a matrix of a known size."""
        return None

    @property
    def family(self) -> str:
        """The name of such tasks in the table of calibrated constants of forecasts."""
        return self.kind_name()

    def null_control(self) -> dict[str, Any] | None:
        """Changes of the fields that make labels independent of the inputs.

        Empty if they are independent already; None if the task has no such version.
        """
        return None

    def sizes(self) -> Sizes | None:
        """The size of the data, so that a too large experiment is refused; None if unknown."""
        return None

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray) -> Split:
        """Draws the data. They depend only on the description and the key."""

    @property
    def is_drawn(self) -> bool:
        """Whether the data depend on the key."""
        return True

    def sample_for(self, key: PRNGKeyArray, meaning: Meaning) -> Split:
        """The data with labels converted to the meaning that a loss requires."""
        del meaning
        return self.sample(key)

    def mapping(self, meaning: Meaning) -> str:
        """One line on how labels are converted to this meaning; empty if they are unchanged."""
        del meaning
        return ""

    @property
    def unit_inputs(self) -> bool:
        """Whether inputs have unit variance, for labels of a `quadratic_teacher`."""
        return False

    def quadratic_teacher(self, key: PRNGKeyArray) -> Float[Array, " d"] | None:
        r"""$v$ of labels $\frac12 (v \cdot x)^2$ on $x \sim N(0, I/d)$; None for other labels."""
        del key
        return None

    def with_data(self, folder: str) -> "AbstractTask | None":
        """The same task with data from files in `folder`; None if the task reads no files."""
        del folder
        return None


def test_blocks(
    draw: Callable[[PRNGKeyArray, int], Samples], key: PRNGKeyArray, num_test: int
) -> Blocks:
    """`num_test` samples in blocks; block `i` is drawn from `fold_in(key, i)`."""
    num_blocks = -(-num_test // TEST_BLOCK)

    def make(index: int) -> Samples:
        size = min(TEST_BLOCK, num_test - index * TEST_BLOCK)
        return draw(jr.fold_in(key, index), size)

    return Blocks(make, num_blocks)
