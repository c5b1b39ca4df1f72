"""The tangent kernel on a few training samples: alignment, spectrum, distance and velocity."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...._torch.functional import gram
from ..samples import Samples, some
from ..view import Setting, View

# The number of samples on which the kernel is computed a second time, a step ahead.
_AHEAD = 8
# The length of a step along the flow, over the norm of the parameters, as in the probe.
_STEP = 1e-3
# The number of eigenvectors whose share of the labels is recorded.
_TOP = 10


def tangent(view: View) -> dict[str, Any]:
    """Alignments, distance from the start, velocity, eigenvalues and labels of the kernel."""
    setting = view.setting
    kernel = kernel_of(setting, view.params, setting.kernel)
    if setting.kernel_start is None:
        setting.kernel_start = kernel
    targets = label_vectors(setting)
    # Not by NumPy, whose threads go on spinning after it.
    values, vectors = (each.numpy() for each in torch.linalg.eigh(torch.from_numpy(kernel)))
    power = np.sum((vectors.T @ targets) ** 2, axis=1) / max(np.sum(targets**2), 1e-300)
    inner, before = (known(setting, centred(k), k) for k in (kernel, setting.kernel_start))
    y = targets - targets.mean(0)
    return {
        "kernel_alignment_labels": alignment(inner, y @ y.T),
        "kernel_alignment_start": alignment(inner, before),
        "kernel_distance": distance(setting.kernel_start, kernel),
        "kernel_velocity": _velocity(view, kernel),
        "kernel_top_eigenvalue": float(values[-1]),
        "kernel_top_label_power": float(power[-_TOP:].sum()),
        "kernel_spectrum": values[::-1].copy(),
        "kernel_label_power": power[::-1].copy(),
    }


def kernel_of(setting: Setting, params: dict[str, Tensor], samples: Samples) -> np.ndarray:
    """The kernel, summed over the chosen outputs, `(n, n)`, in float64."""
    whole = gram(setting.net, params, samples.x, directions=setting.directions, traced=True)
    return whole.cpu().double().numpy()


def label_vectors(setting: Setting) -> np.ndarray:
    """Labels, `(n, c)`: as they are, or for classes unit vectors minus their mean."""
    samples = setting.kernel
    zeros = torch.zeros(len(samples.y), setting.directions.shape[1])
    _, y = setting.objective.labels(zeros, samples.y)
    if setting.labels != "classes":
        return y.double().reshape(len(y), -1).numpy()
    _, places = np.unique(y.numpy(), return_inverse=True)
    unit = np.eye(places.max() + 1)[places]
    return unit - unit.mean(0)


def centred(kernel: np.ndarray) -> np.ndarray:
    """The kernel minus the means of its rows and columns."""
    rows = kernel - kernel.mean(0, keepdims=True)
    return rows - rows.mean(1, keepdims=True)


def known(setting: Setting, inner: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The centred kernel, or NaN where so little of the kernel is left that it is rounding.

    Rounding in the net's precision is about eps times the kernel, so that a part of sqrt(eps) of it
    is known up to sqrt(eps).
    """
    least = math.sqrt(torch.finfo(setting.directions.dtype).eps) * np.linalg.norm(kernel)
    return inner if np.linalg.norm(inner) > least else np.full_like(inner, math.nan)


def alignment(first: np.ndarray, second: np.ndarray) -> float:
    """The cosine between two matrices; NaN if one is zero or not known."""
    size = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.sum(first * second) / size) if size > 0 else math.nan


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """One minus the cosine of two kernels, as `lazyrich.kernel.kernel_distance`."""
    sizes = np.linalg.norm(first), np.linalg.norm(second)
    if not min(sizes) > 0:
        return math.nan
    return float(0.5 * np.sum((first / sizes[0] - second / sizes[1]) ** 2))


def _velocity(view: View, kernel: np.ndarray) -> float:
    """The rate at which the kernel turns along the gradient flow, in radians per flow time."""
    setting = view.setting
    slopes = {name: -view.gradient[name] - view.decays[name] * p for name, p in view.params.items()}
    speed, size = _norm(slopes), _norm(view.params)
    if not speed > 0:
        return math.nan
    step = _STEP * size / speed
    ahead = {name: p + step * slopes[name] for name, p in view.params.items()}
    num = min(_AHEAD, len(setting.kernel.y))
    then = kernel_of(setting, ahead, some(setting.kernel, range(num)))
    return math.sqrt(2 * distance(kernel[:num, :num], then)) / step


def _norm(params: dict[str, Tensor]) -> float:
    return math.hypot(*(float(torch.linalg.vector_norm(p)) for p in params.values()))
