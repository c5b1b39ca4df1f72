"""The kernel phase from random subsets of the training data, with an estimate of the error."""

import math
from dataclasses import dataclass

import equinox as eqx
import jax
import numpy as np

from .._core.errors import InputError
from ..dynamics import Problem
from .phase import KernelPhase, kernel_phase
from .verdict import Reason


@dataclass(frozen=True)
class Subsets:
    r"""Kernel phases on two disjoint random subsets of `num` samples, and on a half of each.

    Fewer samples are fitted with a smaller dual, so the kernel phase lasts longer. If the norm of
    the fitting parameters is a power of $n$, its end is linear in $\log n$. The halves measure the
    slope, and `t_end` is extrapolated with this slope to all samples.

    - `phase`, the kernel phase of the first subset; `t_end`, the mean of both extrapolated ends;
        `error`, half of their difference plus half of the extrapolation.
    """

    phase: KernelPhase
    t_end: float
    error: float
    reason: Reason

    @classmethod
    def of(cls, problem: Problem, num: int, t1: float) -> "Subsets":
        """Draws subsets with a fixed seed, so that an experiment always has the same forecast.

        - **Raises** [`InputError`][lazyrich.InputError] if `num` is below 2 or above half of the
            samples.
        """
        n = problem.train.x.shape[0]
        if not 2 <= num <= n // 2:
            accepted = (
                f"should be from 2 to {n // 2} (two subsets are compared), or {n} for all samples"
            )
            raise InputError("num_samples", num, accepted)
        order = np.random.default_rng(0).permutation(n)
        # Both subsets have the same shape, so that they share compiled code.
        parts = [order[:num], order[num : 2 * num]]
        whole = [kernel_phase(restrict(problem, part), t1) for part in parts]
        half = [kernel_phase(restrict(problem, part[: num // 2]), t1) for part in parts]
        stretch = math.log(n / num) / math.log(num / (num // 2))
        shifts = [(w.t_end - h.t_end) * stretch for w, h in zip(whole, half, strict=True)]
        shift = sum(shifts) / 2
        ends = [w.t_end + shift for w in whole]
        t_end = sum(ends) / 2
        error = 0.5 * abs(ends[0] - ends[1]) + 0.5 * abs(shift)
        text = (
            f"the kernel phase was computed on {num} of {n} samples: it ends at "
            f"{whole[0].t_end:.4g} and {whole[1].t_end:.4g} on two subsets, extrapolated to "
            f"{t_end:.4g} for all samples"
        )
        return cls(whole[0], t_end, error, Reason(1, text))


def restrict(problem: Problem, rows: np.ndarray) -> Problem:
    """The problem with only some of its training samples."""
    train = jax.tree.map(lambda a: a[rows], problem.train)
    return eqx.tree_at(lambda p: p.train, problem, train)
