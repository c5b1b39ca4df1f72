"""Small problems solved in rational numbers: what a predictor's certificate is compared with."""

import itertools
import math
from fractions import Fraction

import numpy as np

Table = list[list[Fraction]]


def rational(x: np.ndarray) -> Table:
    return [[Fraction(float(v)) for v in row] for row in np.atleast_2d(x)]


def gram(rows: Table) -> Table:
    return [[dot(a, b) for b in rows] for a in rows]


def dot(a: list[Fraction], b: list[Fraction]) -> Fraction:
    return sum((p * q for p, q in zip(a, b, strict=True)), Fraction(0))


def solve(a: Table, b: list[Fraction]) -> list[Fraction] | None:
    """Some solution, by elimination; None if there is none."""
    table = [[*row, right] for row, right in zip(a, b, strict=True)]
    pivots: list[int] = []
    for column in range(len(a[0])):
        done = len(pivots)
        found = next((i for i in range(done, len(table)) if table[i][column]), None)
        if found is None:
            continue
        table[done], table[found] = table[found], table[done]
        table[done] = [v / table[done][column] for v in table[done]]
        for i, row in enumerate(table):
            if i != done and row[column]:
                table[i] = [p - row[column] * q for p, q in zip(row, table[done], strict=True)]
        pivots.append(column)
    if any(row[-1] and not any(row[:-1]) for row in table):
        return None
    x = [Fraction(0)] * len(a[0])
    for row, column in zip(table, pivots, strict=False):
        x[column] = row[-1]
    return x


def independent(rows: Table) -> list[int]:
    """The first rows that span them all."""
    kept: list[tuple[int, list[Fraction]]] = []
    places = []
    for place, row in enumerate(rows):
        left = list(row)
        for column, other in kept:
            part = left[column] / other[column]
            left = [p - part * q for p, q in zip(left, other, strict=True)]
        column = next((j for j, v in enumerate(left) if v), -1)
        if column >= 0:
            kept.append((column, left))
            places.append(place)
    return places


def root(value: Fraction) -> float:
    """A square root, of numbers beyond floats too."""
    if not value:
        return 0.0
    half = (value.numerator.bit_length() - value.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(float(value / Fraction(4) ** half)), half)


def least_l2(x: np.ndarray, y: np.ndarray) -> float | None:
    """The least L2 norm of an interpolant; None if nothing interpolates."""
    rows, labels = rational(x), rational(y)[0]
    nu = solve(gram(rows), labels)
    return None if nu is None else root(dot(nu, labels))


def least_l1(x: np.ndarray, y: np.ndarray) -> float | None:
    """The least L1 norm of an interpolant, over all vertices."""
    rows, labels = rational(x), rational(y)[0]
    if solve(rows, labels) is None:
        return None
    kept = independent(rows)
    if not kept:
        return 0.0
    rows, labels = [rows[i] for i in kept], [labels[i] for i in kept]
    norms = []
    for columns in itertools.combinations(range(x.shape[1]), len(kept)):
        square = [[row[j] for j in columns] for row in rows]
        if len(independent(square)) == len(kept):
            w = solve(square, labels)
            assert w is not None
            norms.append(sum(map(abs, w), Fraction(0)))
    return float(min(norms))


def l2_margin(z: np.ndarray) -> float | None:
    """The largest L2 margin of labelled samples, over all sets that may carry it; None if none."""
    every = gram(rational(z))
    num, dim = z.shape
    for size in range(1, min(num, dim) + 1):
        for used in itertools.combinations(range(num), size):
            mu = solve([[every[i][j] for j in used] for i in used], [Fraction(1)] * size)
            if mu is None or min(mu) < 0:
                continue
            if all(dot([every[i][j] for j in used], mu) >= 1 for i in range(num)):
                return 1 / root(sum(mu, Fraction(0)))
    return None


def l1_margin(z: np.ndarray) -> float | None:
    """The largest L1 margin of labelled samples, over all vertices; None if there is none."""
    rows, best = rational(z), None
    num, dim = z.shape
    for size in range(1, min(num, dim) + 1):
        for used in itertools.combinations(range(num), size):
            for columns in itertools.combinations(range(dim), size):
                square = [[rows[i][j] for j in columns] for i in used]
                if len(independent(square)) < size:
                    continue
                w = solve(square, [Fraction(1)] * size)
                assert w is not None
                norm = sum(map(abs, w), Fraction(0))
                if (best is None or norm < best) and all(
                    dot([row[j] for j in columns], w) >= 1 for row in rows
                ):
                    best = norm
    return None if best is None else float(1 / best)
