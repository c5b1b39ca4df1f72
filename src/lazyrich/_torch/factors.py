"""Products of per-sample gradients, from the inputs of layers and the gradients at their outputs.

A linear map $z_t = W a_t$ at positions $t$ of a sample has the gradient $\\sum_t g_t a_t^\\top$,
where $g_t$ is the gradient with respect to $z_t$. The product of the gradients of two samples is
$\\sum_{ts} (a_t \\cdot a'_s)(g_t \\cdot g'_s)$. No matrix of a single sample is needed. An
embedding is a linear map of unit vectors. One backward pass of a batch has the
$g_t$ of all its samples.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .calls import Calls, Part

# The largest number of entries of one product of vectors: 128 MiB of float64.
_ENTRIES = 2**24

Call = Callable[[dict[str, Tensor], Any], Tensor]
"""The outputs at parameters, on inputs whose first axis is the samples."""


class Plan(NamedTuple):
    """Which parameters have factors, by their parts in the forward pass, and which have not.

    `axes` has the axis of the samples in the output of each part.
    """

    parts: tuple[Part, ...]
    axes: tuple[int, ...]
    others: tuple[str, ...]

    @property
    def names(self) -> set[str]:
        """The parameters that have factors."""
        return {part.name for part in self.parts}

    def num_entries(self, params: dict[str, Tensor], num_directions: int) -> int:
        """The number of entries that one sample needs: its factors, and the gradients of others."""
        found = num_directions * sum(params[name].numel() for name in self.others)
        for part, axis in zip(self.parts, self.axes, strict=True):
            size, width = part.shape.numel() // part.shape[axis], part.shape[-1]
            found += num_directions * size
            if part.is_pair:
                found += size // width * (params[part.name].numel() // width)
        return max(1, found)


class Rows(NamedTuple):
    """Gradients of every sample and direction, `(n, k, size)`."""

    rows: Tensor

    def products(self, other: "Rows", *, traced: bool) -> Tensor:
        """All products, `(n k, n' k)` in float64, or their sum over directions, `(n, n')`."""
        if traced:  # a sum over directions is a product of longer rows
            return wide(self.rows.flatten(1) @ other.rows.flatten(1).T)
        return wide(self.rows).flatten(0, 1) @ wide(other.rows).flatten(0, 1).T


class Pairs(NamedTuple):
    """Inputs `a`, `(n, t, width)` or the indices of unit vectors `(n, t)`, of a linear map, and
    gradients `g` with respect to its outputs, `(n, k, t, out)`."""

    a: Tensor
    g: Tensor

    def products(self, other: "Pairs", *, traced: bool) -> Tensor:
        """As those of `Rows`."""
        n, k, t, out = self.g.shape
        n2, k2, t2, _ = other.g.shape
        both = k if traced else k * k2
        if self.a.ndim == 3:
            width = self.a.shape[-1]
            by_vectors = n * n2 * t * t2 * (width + both * out)
            by_rows = (n * n2 * both + n * t * k + n2 * t2 * k2) * width * out
            if by_rows < by_vectors:
                return self._multiplied().products(other._multiplied(), traced=traced)
        left = self if traced else self._wide()
        right = left if other is self else other if traced else other._wide()
        num = max(1, _ENTRIES // (t * n2 * t2 * (1 if traced else both)))
        parts = [
            _products(left.a[i : i + num], left.g[i : i + num], right, traced=traced)
            for i in range(0, n, num)
        ]
        return wide(parts[0] if len(parts) == 1 else torch.cat(parts))

    def _wide(self) -> "Pairs":
        return Pairs(wide(self.a) if self.a.ndim == 3 else self.a, wide(self.g))

    def _multiplied(self) -> Rows:
        return Rows(torch.einsum("nkto,nti->nkoi", self.g, self.a).flatten(2))


Factor = Rows | Pairs


def products(left: Sequence[Factor], right: Sequence[Factor], *, traced: bool) -> Tensor:
    """Products of the gradients of all parameters, summed over parameters in float64."""
    pairs: Any = zip(left, right, strict=True)
    return functools.reduce(torch.add, (a.products(b, traced=traced) for a, b in pairs))


def wide(value: Tensor) -> Tensor:
    """The same in float64, which Apple's devices do not have."""
    return value if value.device.type == "mps" else value.double()


def plan_of(call: Call, params: dict[str, Tensor], one: Any, two: Any) -> Plan:
    """What the forward passes of one sample and of two samples show.

    The axis of the samples is the one whose length changes from 1 to 2.
    """
    found = []
    for x in (one, two):
        with torch.no_grad(), Calls(params) as seen:
            call(params, x)
        found.append(seen)
    (first, second), others = found, set(found[0].others | found[1].others)
    if [part.unshaped for part in first.parts] != [part.unshaped for part in second.parts]:
        return Plan((), (), tuple(params))
    axes: list[int | None] = []
    roles: dict[str, set[str]] = {}
    for a, b in zip(first.parts, second.parts, strict=True):
        axes.append(_axis(a.shape, b.shape))
        # A row of one kind of map is a column of another.
        roles.setdefault(a.name, set()).add(a.role if a.is_pair else "rows")
        if axes[-1] is None or len(roles[a.name]) > 1:
            others.add(a.name)
    kept = [
        (part, axis)
        for part, axis in zip(first.parts, axes, strict=True)
        if axis is not None and part.name not in others
    ]
    return Plan(
        tuple(part for part, _ in kept),
        tuple(axis for _, axis in kept),
        tuple(name for name in params if name in others),
    )


def factors(
    plan: Plan, call: Call, params: dict[str, Tensor], x: Any, directions: Tensor
) -> list[Factor]:
    r"""Factors of $J(x_i)^\top r$ for the parameters that have them.

    - **Takes** `directions`, $r$, of shape `(n, k, c)`.
    - **Raises** `RuntimeError` if the calls are not those of the plan.
    """
    n = len(directions)
    with torch.enable_grad():
        with Calls({name: params[name] for name in plan.names}, kept=True) as seen:
            f = call(params, x).reshape(n, -1)
        if [part.unshaped for part in seen.parts] != [part.unshaped for part in plan.parts]:
            raise RuntimeError("the calls of the forward pass have changed")
        slopes = [
            torch.autograd.grad(f, seen.outputs, r, retain_graph=True, materialize_grads=True)
            for r in directions.unbind(1)
        ]
    rows: dict[str, Tensor] = {}
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for part, axis, now in zip(plan.parts, plan.axes, seen.parts, strict=True):
        if now.shape[axis] != n or _without(now.shape, axis) != _without(part.shape, axis):
            raise RuntimeError("the shapes of the forward pass have changed")
        g = torch.stack([by[now.place].movedim(axis, 0) for by in slopes], 1)
        a = seen.inputs[now.place].movedim(axis, 0)
        if part.is_pair:
            pairs.setdefault(part.name, []).append(_pair(part, a, g))
            continue
        if part.role == "scaled":
            g = g * a[:, None]
        found = _summed(g, _without(params[part.name].shape, axis - len(part.shape)))
        rows[part.name] = found + rows[part.name] if part.name in rows else found
    joined = [
        Pairs(*each[0]) if len(each) == 1 else
        Pairs(torch.cat([a for a, _ in each], 1), torch.cat([g for _, g in each], 2))
        for each in pairs.values()
    ]  # fmt: skip
    return [*(Rows(value) for value in rows.values()), *joined]


def _products(a: Tensor, g: Tensor, other: Pairs, *, traced: bool) -> Tensor:
    n, k, t, _ = g.shape
    n2, k2, t2, _ = other.g.shape
    a2, g2 = other.a, other.g
    if a.ndim == 2:
        of_inputs = (a.reshape(-1, 1) == a2.reshape(-1)).to(g.dtype)
    else:
        of_inputs = a.flatten(0, 1) @ a2.flatten(0, 1).T
    if traced:
        g, g2 = (each.transpose(1, 2).flatten(2).flatten(0, 1) for each in (g, g2))
        found = of_inputs * (g @ g2.T)
        return found if t == t2 == 1 else found.reshape(n, t, n2, t2).sum((1, 3))
    of_slopes = (g.flatten(0, 2) @ g2.flatten(0, 2).T).reshape(n, k, t, n2, k2, t2)
    found = of_slopes * of_inputs.reshape(n, 1, t, n2, 1, t2)
    return found.sum((2, 5)).reshape(n * k, n2 * k2)


def _pair(part: Part, a: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs `(n, t, width)` or `(n, t)`, and gradients `(n, k, t, out)`."""
    n, k = g.shape[:2]
    g = g.reshape(n, k, -1, g.shape[-1])
    if part.role != "embedding":
        return a.reshape(n, g.shape[2], -1), g
    a = a.reshape(n, -1)
    return a, g if part.padding is None else g * (a != part.padding)[:, None, :, None]


def _summed(g: Tensor, shape: torch.Size) -> Tensor:
    """Gradients `(n, k, ...)` of what a parameter was added to, as `(n, k, size)`."""
    num = g.ndim - 2 - len(shape)
    if num:
        g = g.sum(tuple(range(2, 2 + num)))
    spread = tuple(i + 2 for i, size in enumerate(shape) if size == 1 and g.shape[i + 2] > 1)
    return (g.sum(spread, keepdim=True) if spread else g).reshape(*g.shape[:2], -1)


def _axis(one: torch.Size, two: torch.Size) -> int | None:
    if len(one) != len(two):
        return None
    changed = [i for i, sizes in enumerate(zip(one, two, strict=True)) if sizes[0] != sizes[1]]
    fits = len(changed) == 1 and (one[changed[0]], two[changed[0]]) == (1, 2)
    return changed[0] if fits else None


def _without(shape: torch.Size, axis: int) -> torch.Size:
    """The shape without an axis, if it has it; negative ones count from its end."""
    if not -len(shape) <= axis < len(shape):
        return shape
    axis %= len(shape)
    return torch.Size((*shape[:axis], *shape[axis + 1 :]))
