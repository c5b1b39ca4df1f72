"""Certificates for directions of multi-class margins."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ._base import Predictor
from .margin import Evidence, contradiction, predictor_of
from .products import EPS

# The largest number of entries in a table of all constraints for a search of contradictions.
_SMALL = 2**20


@dataclass(frozen=True)
class ClassMargin:
    """The problem for `features`, scaled by `2**-unit`, and classes."""

    phi: Float[np.ndarray, "n k"]
    y: Int[np.ndarray, " n"]
    num_classes: int
    unit: int


def evidence(
    posed: ClassMargin, weights: Float[np.ndarray, "c k"], mu: Float[np.ndarray, "n c"]
) -> Evidence:
    """What a direction and multipliers from any source prove."""
    phi, right = posed.phi, np.eye(posed.num_classes)[posed.y]
    mu = np.where(right > 0, 0.0, np.maximum(mu, 0.0))
    mu = mu / np.max(mu) if np.max(mu) > 0 else 1 - right
    mu = mu / np.sum(mu)
    force = right * np.sum(mu, axis=1, keepdims=True) - mu
    pull, size = force.T @ phi, np.abs(force).T @ np.abs(phi)
    unsure = (len(phi) + posed.num_classes + 2) * EPS * size
    bound = float(np.linalg.norm(np.abs(pull) + unsure))
    norm = np.linalg.norm(weights)
    direction = weights / norm if norm > 0 else np.zeros_like(weights)
    f = phi @ direction.T
    terms = np.abs(phi) @ np.abs(direction).T
    error = (phi.shape[1] + 3) * EPS * terms
    own = np.sum(right * (f - error), axis=1, keepdims=True)
    margin = float(np.min(np.where(right > 0, np.inf, own - f - error)))
    rounding = float(np.linalg.norm(unsure)) + 2 * float(np.max(error))
    inseparable = margin <= 0 and bool(
        np.all(np.abs(pull) <= 16 * (len(phi) + posed.num_classes + 4) * EPS * size)
    )
    return Evidence(margin, bound, rounding, direction, mu, inseparable)


def certify_classes(
    name: str,
    posed: ClassMargin,
    weights: Float[np.ndarray, "c k"],
    mu: Float[np.ndarray, "n c"],
    tolerance: float,
) -> Predictor:
    """The predictor for a direction and multipliers, with the status that they prove."""
    found = evidence(posed, weights, mu)
    if found.margin <= 0 and not found.inseparable:
        other = _contradiction(posed)
        found = found if other is None else evidence(posed, weights, other)
    return predictor_of(name, found, posed.unit, tolerance, found.direction)


def _contradiction(posed: ClassMargin) -> Float[np.ndarray, "n c"] | None:
    n, c = len(posed.y), posed.num_classes
    if n * (c - 1) * c * posed.phi.shape[1] > _SMALL:
        return None
    others = np.argwhere(np.arange(c)[None] != posed.y[:, None])
    units = np.eye(c)[posed.y[others[:, 0]]] - np.eye(c)[others[:, 1]]
    table = np.einsum("mc,mk->mck", units, posed.phi[others[:, 0]]).reshape(len(others), -1)
    found = contradiction(table)
    if found is None:
        return None
    mu = np.zeros((n, c))
    mu[others[:, 0], others[:, 1]] = found
    return mu
