"""A PyTorch module as a pure function of its parameters and inputs.

Inputs `x` are one tensor whose first axis is the samples, or a tuple or dict of such tensors, for
modules of several arguments. All functions evaluate in `eval` mode, and leave modes, `.grad`,
buffers and random states as they were.
"""

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.utils._pytree import tree_leaves, tree_map

from .._core.errors import InputError
from .factors import Factor, Plan, Rows, factors, plan_of, products
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
        r = _directions(net, params, x, directions)
        return torch.cat(_rows(net, params, x, r, list(params)), dim=2)


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
        try:
            plan = _plan(net, params, *left)
            if plan is not None:
                return _by_blocks(net, params, left, right, chunk, plan, traced=traced)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError):
            # PyTorch cannot vectorise a call, calls depend on the sample, or another version has
            # other arguments. Any other error is raised again below.
            _plans[net] = (_signature(params, x), None)
        return _by_blocks(net, params, left, right, chunk, None, traced=traced)


def num_samples(x: Any) -> int:
    """The length of the first axis of the inputs."""
    return len(tree_leaves(x)[0])


def taken(x: Any, rows: Any) -> Any:
    """The inputs of some samples; `rows` is a slice or an index array."""
    return tree_map(lambda value: value[rows], x)


_Side = tuple[Any, Tensor]

# The plan of each net, with what it is of; None if its calls cannot be followed.
_plans: weakref.WeakKeyDictionary[nn.Module, tuple[Any, Plan | None]] = weakref.WeakKeyDictionary()


def _signature(params: Parameters, x: Any) -> tuple[Any, ...]:
    shapes = [(name, value.shape) for name, value in params.items()]
    return shapes, [value.shape[1:] for value in tree_leaves(x)]


def _plan(net: nn.Module, params: Parameters, x: Any, directions: Tensor) -> Plan | None:
    if len(directions) < 2:
        return None
    known, signature = _plans.get(net), _signature(params, x)
    if known is None or known[0] != signature:
        two = slice(0, 2)
        known = signature, _tried(net, params, taken(x, two), directions[two])
        _plans[net] = known
    return known[1]


def _tried(net: nn.Module, params: Parameters, two: Any, directions: Tensor) -> Plan | None:
    """The plan, if with it two samples have the products of their own gradients."""
    generator = torch.Generator().manual_seed(0)
    moved = {}
    for name, value in params.items():  # weights of zero would hide a fault
        noise = torch.randn(value.shape, generator=generator).to(value)
        moved[name] = value + (0.01 + 0.1 * value.square().mean().sqrt()) * noise
    call = functools.partial(called, net)
    plan = plan_of(call, moved, taken(two, slice(0, 1)), two)
    if 2 * sum(params[name].numel() for name in plan.others) > sum(
        map(torch.numel, params.values())
    ):
        return None
    right = [Rows(rows) for rows in _side_by_side(net, moved, two, directions, list(params))]
    found = _factors(net, moved, two, directions, plan)
    first, second = (products(each, each, traced=True) for each in (found, right))
    accuracy = max(torch.finfo(value.dtype).eps for value in params.values()) ** 0.5
    return plan if bool((first - second).abs().max() <= accuracy * second.abs().max()) else None


def _factors(
    net: nn.Module, params: Parameters, x: Any, directions: Tensor, plan: Plan | None
) -> list[Factor]:
    if plan is None:
        return [Rows(rows) for rows in _rows(net, params, x, directions, list(params))]
    others = _rows(net, params, x, directions, plan.others) if plan.others else []
    found = factors(plan, functools.partial(called, net), params, x, directions)
    return [*map(Rows, others), *found]


def _by_blocks(
    net: nn.Module,
    params: Parameters,
    left: _Side,
    right: _Side,
    chunk: int | None,
    plan: Plan | None,
    *,
    traced: bool,
) -> Tensor:
    symmetric = left is right
    (x, r), (x2, r2) = left, right
    each = r.shape[1]
    size = sum(value.numel() for value in params.values()) * each
    if plan is not None:
        size = max(1, plan.num_entries(params, each))
    num = chunk or max(1, _ENTRIES // (2 * size))
    if chunk is None and symmetric and len(r) * size <= _ENTRIES:
        num = len(r)

    def found(x: Any, r: Tensor, start: int) -> list[Factor]:
        part = slice(start, start + num)
        return _factors(net, params, taken(x, part), r[part], plan)

    k, k2 = (1, 1) if traced else (each, r2.shape[1])
    whole: Tensor | None = None
    for i in range(0, len(r), num):
        rows = found(x, r, i)
        for j in range(i if symmetric else 0, len(r2), num):
            block = products(
                rows, rows if symmetric and i == j else found(x2, r2, j), traced=traced
            )
            if whole is None:
                whole = block.new_empty((len(r) * k, len(r2) * k2))
            whole[i * k : i * k + len(block), j * k2 : j * k2 + block.shape[1]] = block
            if symmetric and i != j:
                whole[j * k : j * k + block.shape[1], i * k : i * k + len(block)] = block.T
    assert whole is not None
    return whole


def _directions(net: nn.Module, params: Parameters, x: Any, given: Tensor | None) -> Tensor:
    """The directions of every sample, shape `(n, k, c)`."""
    n = num_samples(x)
    if given is None:
        with torch.no_grad():
            one = called(net, params, taken(x, slice(0, 1)))
        given = torch.eye(one.numel(), dtype=one.dtype, device=one.device)
    return given.expand(n, *given.shape) if given.ndim == 2 else given


def _rows(
    net: nn.Module, params: Parameters, x: Any, directions: Tensor, names: Sequence[str]
) -> list[Tensor]:
    """For each of some parameters the rows of all samples and directions, `(n, k, size)`."""
    size = sum(params[name].numel() for name in names) * directions.shape[1]
    num = max(1, min(_SIDE_BY_SIDE, _ENTRIES // (2 * size)))
    parts = [slice(start, start + num) for start in range(0, len(directions), num)]
    side_by_side = True
    found = []
    for part in parts:
        some = taken(x, part)
        if side_by_side:
            try:
                found.append(_side_by_side(net, params, some, directions[part], names))
                continue
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:
                # PyTorch has no type of its own for operations that cannot be vectorised, such as
                # those that read a value. Any other error is raised again one by one.
                side_by_side = False
        found.append(_one_by_one(net, params, some, directions[part], names))
    return found[0] if len(found) == 1 else [torch.cat(parts) for parts in zip(*found, strict=True)]


def _side_by_side(
    net: nn.Module, params: Parameters, x: Any, directions: Tensor, names: Sequence[str]
) -> list[Tensor]:
    some = {name: params[name] for name in names}

    def pulled(x: Any, r: Tensor) -> list[Tensor]:
        single = tree_map(lambda value: value[None], x)
        pull = vjp(lambda some: called(net, {**params, **some}, single).flatten(), some)[1]
        (found,) = vmap(pull)(r)
        return [found[name].reshape(len(r), -1) for name in names]

    found: list[Tensor] = vmap(pulled)(x, directions)
    return found


def _one_by_one(
    net: nn.Module, params: Parameters, x: Any, directions: Tensor, names: Sequence[str]
) -> list[Tensor]:
    some = {name: params[name].detach().requires_grad_() for name in names}
    rows: list[list[Tensor]] = []
    with torch.enable_grad():
        for place, r_of_sample in enumerate(directions):
            f = called(net, {**params, **some}, taken(x, slice(place, place + 1))).flatten()
            for r in r_of_sample:
                pulled = torch.autograd.grad(
                    f, list(some.values()), r, retain_graph=True, materialize_grads=True
                )
                rows.append([value.flatten() for value in pulled])
    n, k = directions.shape[:2]
    return [torch.stack(each).reshape(n, k, -1) for each in zip(*rows, strict=True)]
