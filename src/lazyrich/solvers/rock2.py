"""ROCK2: a stabilised explicit method from nearly optimal stability polynomials."""

from functools import lru_cache
from typing import ClassVar, NamedTuple

import equinox as eqx
import numpy as np

from .rkc2 import AbstractStabilised, Family, degrees_up_to, family

_DAMPING = 0.95


class ROCK2(AbstractStabilised):
    r"""Orthogonal Runge--Kutta--Chebyshev: explicit, second order, for spectra near the
    negative axis.

    With $s$ stages a step is stable for eigenvalues in $[-\beta(s)/h, 0]$,
    $\beta(s) \approx 0.805\,s^2$, a quarter more than [`RKC2`][lazyrich.solvers.RKC2] and
    close to the largest possible value for an explicit method of order 2. The cost, the choice
    of stages, and the result of a step that `max_stages` cannot make stable are those of RKC2.

    The stability polynomial is $R(z) = (1 + 2\sigma z + \tau z^2)\,P_{s-2}(z)$. The $P_j$ are
    orthogonal on the stability interval; their weight is the square of the first factor times
    the weight of Chebyshev's polynomials. Their recurrence gives the first $s - 2$ stages. The
    error estimate is the difference to a first-order method whose first factor is
    $(1 + \sigma z)^2$. The estimate is of second order, and bounded for arbitrarily stiff
    components. The error at the end is proportional to the tolerance.

    - **Takes** `max_stages`; `safety`, a factor for the estimated radius, because power iteration
        underestimates it. State and field are pytrees of real arrays. The number of stages is
        dynamic, so derivatives of a solution need `diffrax.ForwardMode`.
    - **Raises** `InputError` unless `max_stages` is from 3 to 500 and `safety` at least 1.
    - **Reference** Abdulle & Medovikov, Numer. Math. 90 (2001), 1--18. Their tables are not
        used. The polynomials are computed, and damped so that $|R| = 0.95$ at both ends of the
        interval where $R$ oscillates. Between the ends $|R|$ is at most 0.95. The published
        polynomials reach 0.9625, with intervals of up to $0.810\,s^2$.
    """

    bounds: ClassVar[tuple[int, int]] = (3, 500)

    max_stages: int = eqx.field(default=200, static=True)
    safety: float = 1.2

    @property
    def family(self) -> Family:
        return _orthogonal(self.max_stages)


class _Polynomials(NamedTuple):
    r"""Polynomials $w(x) P_j(x)$ for `k` degrees at once; $R$ oscillates where $|x| \le 1$.

    Each row has its own degree $m$, that of $P$ in $R$. The point $z = 0$ is $x = a$, and
    $z = d(x - a)$.
    """

    ends: np.ndarray  # (k, 2): R at x = 1 and x = -1
    ratio: np.ndarray  # (k,): R'' R / R'^2 at a, which is 1 for second order
    scale: np.ndarray  # (k,): d
    centre: np.ndarray  # (m, k): P_{j+1} = 2 (x - centre_j) P_j - 4 coupling_j P_{j-1}
    coupling: np.ndarray  # (m, k)
    at_zero: np.ndarray  # (m + 1, k): P_j(a)


@lru_cache
def _orthogonal(max_stages: int) -> Family:
    s = degrees_up_to(max_stages, ROCK2.bounds[0])
    # Newton's method for the zeros of w, 1 - u / s^2 +- i v / s^2, and a = 1 + c / s^2. These
    # u, v, c tend to constants as s grows. The initial values are a fit to the solutions.
    unknown = np.array([3.181, 3.383, 0.127]) + np.outer(1 / s**2, [0.5, 2.0, 0.2])
    for _ in range(4):
        now = _residual(s, unknown)
        slopes = [(_residual(s, unknown + 1e-6 * e) - now) / 1e-6 for e in np.eye(3)]
        unknown = unknown - np.linalg.solve(np.stack(slopes, axis=2), now[:, :, None])[:, :, 0]
    assert np.abs(_residual(s, unknown)).max() < 1e-14 * max_stages**2 + 1e-12

    p = _polynomials(s, unknown)
    a, re, im = _places(s, unknown)
    size = (a - re) ** 2 + im**2
    sigma = (a - re) / (p.scale * size)
    # In the paper's notation tau = sigma^2 + sigma * tilt.
    tilt = im**2 / (p.scale * size * (a - re))

    one, zero = np.ones_like(sigma), np.zeros_like(sigma)
    k = np.arange(len(s))
    stages = np.zeros((len(s), max_stages, 4))
    shrink = p.at_zero[:-1] / p.at_zero[1:]
    stages[:, :-2, 0] = (2 * (a - p.centre) * shrink).T
    stages[:, 1:-2, 1] = (-4 * p.coupling[1:] * shrink[1:] * shrink[:-1]).T
    stages[:, :-2, 2] = (2 * shrink / p.scale).T
    stages[k, s - 2] = np.stack([one, zero, sigma, zero], axis=1)
    stages[k, s - 1] = np.stack([1 - tilt / sigma, tilt / sigma, sigma + tilt, zero], axis=1)
    error = np.stack([one, -one, zero, -sigma, zero], axis=1)
    return family(s, p.scale * (1 + a), stages, error)


def _places(s: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The point x where z = 0, and the real and imaginary parts of the zeros of w."""
    u, v, c = unknown.T / s**2
    return 1 + c, 1 - u, v


def _residual(s: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    p = _polynomials(s, unknown)
    return np.column_stack([p.ends[:, 0], (-1.0) ** s * p.ends[:, 1], p.ratio]) - [
        _DAMPING,
        _DAMPING,
        1,
    ]


def _polynomials(s: np.ndarray, unknown: np.ndarray) -> _Polynomials:
    """Stieltjes' procedure on Gauss--Chebyshev nodes, exact for these integrals."""
    a, re, im = _places(s, unknown)
    num = s.max() + 1
    nodes = np.cos((np.arange(num) + 0.5) * np.pi / num)
    x = np.concatenate([np.tile(nodes, (len(s), 1)), np.tile([1.0, -1.0], (len(s), 1))], axis=1)
    x = np.column_stack([x, a])
    w = (x - re[:, None]) ** 2 + im[:, None] ** 2
    weight = w[:, :num] ** 2

    before, p = np.zeros_like(x), np.ones_like(x)
    # First and second derivatives at a, of this P and of the P before.
    (d0, d), (e0, e) = np.zeros((2, 2, len(s)))
    norm = np.ones(len(s))
    centre: list[np.ndarray] = []
    coupling: list[np.ndarray] = []
    history = [(p[:, num:], d, e)]
    for _ in range(s.max() - 2):
        density = weight * p[:, :num] ** 2
        norm, old = density.sum(axis=1), norm
        centre.append(density @ nodes / norm)
        coupling.append(norm / old / 4 if coupling else 0 * norm)
        shift, lag = 2 * (a - centre[-1]), 4 * coupling[-1]
        p, before = 2 * (x - centre[-1][:, None]) * p - lag[:, None] * before, p
        e, e0 = shift * e + 4 * d - lag * e0, e
        d, d0 = shift * d + 2 * history[-1][0][:, 2] - lag * d0, d
        history.append((p[:, num:], d, e))
    rows = s - 2, np.arange(len(s))
    (at_one, at_minus_one, at_a), d, e = (
        np.stack([h[i] for h in history])[rows].T for i in range(3)
    )
    w_one, w_minus_one, w_a = w[:, num:].T
    dw = 2 * (a - re)
    value = w_a * at_a
    slope = (w_a * d + dw * at_a) / value
    bend = (w_a * e + 2 * dw * d + 2 * at_a) / value
    return _Polynomials(
        np.column_stack([w_one * at_one, w_minus_one * at_minus_one]) / value[:, None],
        bend / slope**2,
        slope,
        np.stack(centre),
        np.stack(coupling),
        np.stack([h[0][:, 2] for h in history]),
    )
