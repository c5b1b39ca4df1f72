"""A PyTorch module as a pure function of its parameters and inputs.

Inputs `x` are one tensor whose first axis is the samples, or a tuple or dict of such tensors, for
modules of several arguments. All functions evaluate in `eval` mode, and leave modes, `.grad`,
buffers and random states as they were.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.utils._pytree import tree_leaves, tree_map

from .._core.errors import InputError
from .undisturbed import undisturbed, unwrapped

Parameters = dict[str, Tensor]
"""The trainable parameters by name."""

# The largest number of entries of rows of a Jacobian in memory: 256 MiB of float64.
_ENTRIES = 2**25
# Samples that pass through the module side by side.
_SIDE_BY_SIDE = 128


def parameters_of(net: nn.Module) -> Parameters:
    """The trainable parameters, detached, sharing memory with the module; tied ones once."""
    named = unwrapped(net).named_parameters()
    return {name: value.detach() for name, value in named if value.requires_grad}


def outputs(net: nn.Module, params: Parameters, x: Any) -> Tensor:
    """The outputs of the module at `params`, of the shape that the module gives them.

    - **Raises** [`InputError`][lazyrich.InputError] if the module does not return a tensor, or an
        object with a tensor `logits`.
    """
    net = unwrapped(net)
    with undisturbed(net):
        return called(net, params, x)


def called(net: nn.Module, params: Parameters, x: Any) -> Tensor:
    """The outputs, for use inside of `undisturbed`."""
    # Copies, so that a module that writes its buffers does not change the training.
    buffers = {name: value.clone() for name, value in net.named_buffers()}
    positional, named = arguments(x)
    return tensor_of(functional_call(net, {**buffers, **params}, positional, named))


def called_as_it_is(net: nn.Module, x: Any) -> Tensor:
    """The outputs at the parameters of the module itself."""
    positional, named = arguments(x)
    return tensor_of(net(*positional, **named))


def arguments(x: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a module, by position and by name."""
    if isinstance(x, dict):
        return (), dict(x)
    return (x if isinstance(x, tuple) else (x,)), {}


def tensor_of(found: Any) -> Tensor:
    """The tensor that a module has returned, or the `logits` of an object.

    - **Raises** [`InputError`][lazyrich.InputError] if it returned something else.
    """
    found = getattr(found, "logits", found)
    if not isinstance(found, Tensor) or found.ndim == 0:
        accepted = "should return one tensor with an axis of samples, or an object with `logits`"
        raise InputError("net", f"outputs of type {type(found).__name__}", accepted)
    return found


def loss_gradient(
    net: nn.Module, params: Parameters, x: Any, y: Any, loss: Callable[[Tensor, Any], Tensor]
) -> tuple[Tensor, Parameters]:
    """The value of `loss(outputs, y)`, and its gradient by name of the parameter."""
    net = unwrapped(net)
    with undisturbed(net), torch.enable_grad():
        leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        value = loss(called(net, leaves, x), y)
        found = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
    return value.detach(), dict(zip(leaves, found, strict=True))


def per_sample_rows(
    net: nn.Module, params: Parameters, x: Any, directions: Tensor | None = None
) -> Tensor:
    r"""$J(x_i)^\top r$ for each sample and each of `k` directions, shape `(n, k, num_params)`.

    Parameters are flattened and joined in their order in `params`.

    - **Takes** `directions`, $r$ in the space of the flattened outputs of one sample: `(k, c)` for
        the same at all samples, or `(n, k, c)`; by default the `c` unit vectors, for which the
        rows are those of the Jacobian.
    """
    net = unwrapped(net)
    with undisturbed(net):
        return torch.cat(_rows(net, params, x, _directions(net, params, x, directions)), dim=2)


def per_sample_jacobian(net: nn.Module, params: Parameters, x: Any) -> Tensor:
    """The Jacobian of the flattened outputs of each sample, shape `(n, c, num_params)`."""
    return per_sample_rows(net, params, x)


def gram(
    net: nn.Module,
    params: Parameters,
    x: Any,
    other: Any = None,
    *,
    directions: Tensor | None = None,
    other_directions: Tensor | None = None,
    chunk: int | None = None,
    traced: bool = False,
) -> Tensor:
    r"""The empirical tangent kernel $J(x) J(x')^\top$, shape `(n k, n' k)`, in float64.

    Rows are ordered by sample, then by direction, as in
    [`tangent_kernel`][lazyrich.models.AbstractModel.tangent_kernel]. The rows of the Jacobian are
    formed in blocks of samples, at most 256 MiB of float64 at a time. If all rows fit in it, each
    row is formed once. The rows of all parameters are never joined.

    - **Takes** `other`, $x'$, by default `x`; `directions`, as in `per_sample_rows`, by default
        all outputs, and `other_directions` for `other`, by default the same if they are shared by
        all samples; `chunk`, the number of samples in a block; `traced`, for the sum over
        directions, shape `(n, n')`, with products in the type of the parameters.
    """
    net = unwrapped(net)
    with undisturbed(net):
        left = (x, _directions(net, params, x, directions))
        right = left
        if other is not None:
            shared = directions if directions is None or directions.ndim == 2 else None
            given = shared if other_directions is None else other_directions
            right = (other, _directions(net, params, other, given))
        size = sum(value.numel() for value in params.values()) * left[1].shape[1]
        num = chunk or max(1, _ENTRIES // (2 * size))
        if chunk is None and other is None and len(left[1]) * size <= _ENTRIES:
            num = len(left[1])
        return _by_blocks(net, params, left, right, num, traced=traced)


def num_samples(x: Any) -> int:
    """The length of the first axis of the inputs."""
    return len(tree_leaves(x)[0])


def taken(x: Any, rows: Any) -> Any:
    """The inputs of some samples; `rows` is a slice or an index array."""
    return tree_map(lambda value: value[rows], x)


_Side = tuple[Any, Tensor]


def _by_blocks(
    net: nn.Module, params: Parameters, left: _Side, right: _Side, num: int, *, traced: bool
) -> Tensor:
    symmetric = left is right
    (x, r), (x2, r2) = left, right

    def flat(x: Any, r: Tensor, start: int) -> list[Tensor]:
        part = slice(start, start + num)
        rows = _rows(net, params, taken(x, part), r[part])
        # A sum over directions is a product of longer rows.
        return [each.flatten(1) if traced else _wide(each.flatten(0, 1)) for each in rows]

    k, k2 = (1, 1) if traced else (r.shape[1], r2.shape[1])
    whole: Tensor | None = None
    for i in range(0, len(r), num):
        rows = flat(x, r, i)
        for j in range(i if symmetric else 0, len(r2), num):
            block = _product(rows, rows if symmetric and i == j else flat(x2, r2, j))
            if whole is None:
                whole = block.new_empty((len(r) * k, len(r2) * k2))
            whole[i * k : i * k + len(block), j * k2 : j * k2 + block.shape[1]] = block
            if symmetric and i != j:
                whole[j * k : j * k + block.shape[1], i * k : i * k + len(block)] = block.T
    assert whole is not None
    return whole


def _product(left: list[Tensor], right: list[Tensor]) -> Tensor:
    """The products of rows, in their type, summed over parameters in float64."""
    return functools.reduce(torch.add, (_wide(a @ b.T) for a, b in zip(left, right, strict=True)))


def _wide(value: Tensor) -> Tensor:
    return value if value.device.type == "mps" else value.double()  # no float64 on Apple's


def _directions(net: nn.Module, params: Parameters, x: Any, given: Tensor | None) -> Tensor:
    """The directions of every sample, shape `(n, k, c)`."""
    n = num_samples(x)
    if given is None:
        with torch.no_grad():
            one = called(net, params, taken(x, slice(0, 1)))
        given = torch.eye(one.numel(), dtype=one.dtype, device=one.device)
    return given.expand(n, *given.shape) if given.ndim == 2 else given


def _rows(net: nn.Module, params: Parameters, x: Any, directions: Tensor) -> list[Tensor]:
    """For each parameter the rows of all samples and directions, `(n, k, size)`."""
    size = sum(value.numel() for value in params.values()) * directions.shape[1]
    num = max(1, min(_SIDE_BY_SIDE, _ENTRIES // (2 * size)))
    parts = [slice(start, start + num) for start in range(0, len(directions), num)]
    side_by_side = True
    found = []
    for part in parts:
        some = taken(x, part)
        if side_by_side:
            try:
                found.append(vmap(lambda x, r: _pulled(net, params, x, r))(some, directions[part]))
                continue
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:
                # PyTorch has no type of its own for operations that cannot be vectorised, such as
                # those that read a value. Any other error is raised again one by one.
                side_by_side = False
        found.append(_one_by_one(net, params, some, directions[part]))
    return found[0] if len(found) == 1 else [torch.cat(parts) for parts in zip(*found, strict=True)]


def _pulled(net: nn.Module, params: Parameters, x: Any, r: Tensor) -> list[Tensor]:
    single = tree_map(lambda value: value[None], x)
    pull = vjp(lambda params: called(net, params, single).flatten(), params)[1]
    (found,) = vmap(pull)(r)
    return [found[name].reshape(len(r), -1) for name in params]


def _one_by_one(net: nn.Module, params: Parameters, x: Any, directions: Tensor) -> list[Tensor]:
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
    rows: list[list[Tensor]] = []
    with torch.enable_grad():
        for place, some in enumerate(directions):
            f = called(net, leaves, taken(x, slice(place, place + 1))).flatten()
            for r in some:
                pulled = torch.autograd.grad(
                    f, list(leaves.values()), r, retain_graph=True, materialize_grads=True
                )
                rows.append([value.flatten() for value in pulled])
    n, k = directions.shape[:2]
    return [torch.stack(each).reshape(n, k, -1) for each in zip(*rows, strict=True)]
