"""A frozen copy of a PyTorch module in double precision, for calls from compiled code."""

import copy
import functools
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import jvp, vjp, vmap

from .._core.errors import InputError
from .content import content_of
from .deterministic import check_deterministic, check_layers
from .functional import Parameters, called, called_as_it_is, gram, parameters_of
from .undisturbed import exact_passes, unwrapped

# The largest number of entries that vectorised calls return at once: 256 MiB of float64.
_ENTRIES = 2**25
# The number of inputs on which a module is tried.
_FEW = 3

# What a module raises if an operation has no rule for the kind of pass. PyTorch has no type of its
# own for it; any other error is raised again by the slower pass.
_UNSUPPORTED = RuntimeError


class Snapshot:
    r"""A copy of a module in `eval` mode and float64, equal and hashed by its content.

    Parameters are one flat vector, joined in the order of their sorted names.

    - **Takes** `net`; `input_shape`, the shape of one input; `ids`, whether inputs stay integers.
    - **Raises** [`InputError`][lazyrich.InputError] for a module that has nothing to train, is
        complex, or is random or depends on the batch in its present mode.
    """

    def __init__(self, net: Any, input_shape: tuple[int, ...] | None = None, ids: bool = False):
        if not isinstance(net, nn.Module):
            raise InputError("net", type(net).__name__, "should be a torch.nn.Module")
        net = unwrapped(net)
        check_layers(net, "net")
        self.content = content_of(net, "net")
        self.kind = f"{type(net).__module__}.{type(net).__qualname__}"
        self.input_shape, self.ids = input_shape, ids
        self.net = _frozen(net)
        named = dict(sorted(parameters_of(self.net).items()))
        if not named:
            raise InputError("net", type(net).__name__, "has no parameters that require gradients")
        if any(value.is_complex() for value in named.values()):
            raise InputError("net", type(net).__name__, "should have real parameters")
        self.params = {name: value.cpu().numpy().copy() for name, value in named.items()}
        self._shapes = {name: value.shape for name, value in named.items()}
        self._device = next(iter(named.values())).device
        own = dict(self.net.named_parameters())
        self._own = [own[name] for name in named]
        self._held: tuple[np.ndarray, np.ndarray, Tensor] | None = None
        self._lock = threading.Lock()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return self.kind

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_held": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "_lock": threading.Lock()})

    @property
    def _key(self) -> Any:
        return self.content, self.input_shape, self.ids

    @property
    def has_embedding(self) -> bool:
        """Whether a layer reads integers."""
        return any(isinstance(m, nn.Embedding | nn.EmbeddingBag) for m in self.net.modules())

    @property
    def has_kinks(self) -> bool:
        """Whether a layer is known to have kinks."""
        return any(isinstance(module, _WITH_KINKS) for module in self.net.modules())

    @functools.lru_cache(16)  # noqa: B019
    def output_shape(self, dim: int, whole: bool) -> tuple[int, ...]:
        """The shape of the outputs for one input of length `dim`, found by calling the module.

        - **Raises** [`InputError`][lazyrich.InputError] if the module accepts no such inputs, is
            no deterministic function of each input, or has outputs of more than one axis.
        """
        try:
            x = self._tensor(_tried((_FEW, dim), whole=whole), 0)
            check_deterministic(self.net, x, "model.net")
            with exact_passes(), torch.no_grad():
                found = called(self.net, parameters_of(self.net), x)
        except InputError:
            raise
        except Exception as error:
            words = (str(error).splitlines() or [""])[0]
            accepted = f"fails on inputs of shape ({_FEW}, {dim}): {type(error).__name__}: {words}"
            raise InputError("model.net", self.kind, accepted) from None
        if found.ndim not in (1, 2) or len(found) != _FEW:
            accepted = f"outputs of n inputs should be (n,) or (n, c), not {tuple(found.shape)}"
            raise InputError("model.net", self.kind, accepted)
        return tuple(found.shape[1:])

    def _named(self, flat: Tensor) -> Parameters:
        sizes = [math.prod(shape) for shape in self._shapes.values()]
        parts = torch.split(flat, sizes)
        return {n: p.reshape(s) for (n, s), p in zip(self._shapes.items(), parts, strict=True)}

    def _tensor(self, x: np.ndarray, num_axes: int) -> Tensor:
        """Inputs as the module takes them, after `num_axes` axes of repetition and the samples."""
        lead = x.shape[: num_axes + 1]
        if self.input_shape is not None:
            x = x.reshape(*lead, *self.input_shape)
        whole = self.ids and x.dtype.kind in "iu"
        # Copied, because arrays of JAX are read-only.
        return torch.from_numpy(np.array(x, np.int64 if whole else np.float64)).to(self._device)

    def _vector(self, v: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(v, np.float64)).to(self._device)

    def _f(self, flat: Tensor, x: Tensor) -> Tensor:
        return called(self.net, self._named(flat), x)

    def _graph(self, params: np.ndarray, x: np.ndarray) -> tuple[Tensor, list[nn.Parameter]]:
        """The outputs with their graph. A gradient after the outputs needs no second pass."""
        held = self._held
        if held is None or not (_same(held[0], params) and _same(held[1], x)):
            self._held = None  # frees its memory first
            if held is None or not _same(held[0], params):
                with torch.no_grad():
                    pieces = self._named(self._vector(params)).values()
                    for mine, given in zip(self._own, pieces, strict=True):
                        mine.copy_(given)
            f = called_as_it_is(self.net, self._tensor(x, 0))
            held = self._held = (params.copy(), x.copy(), f)
        return held[2], self._own

    def outputs(self, params: np.ndarray, x: np.ndarray, num_axes: int) -> np.ndarray:
        """See `lazyrich.models._torch_primitives.Host`."""
        with self._lock, exact_passes():
            if num_axes == 0:
                return _numpy(self._graph(params, x)[0])
            with torch.no_grad():
                flat, inputs = self._vector(params), self._tensor(x, num_axes)
                return self._merged(self._f, num_axes, flat, inputs)

    def push(self, params: np.ndarray, x: np.ndarray, v: np.ndarray, num_axes: int) -> np.ndarray:
        """See `lazyrich.models._torch_primitives.Host`."""

        def of_one(flat: Tensor, x: Tensor, v: Tensor) -> Tensor:
            return jvp(lambda flat: self._f(flat, x), (flat,), (v,))[1]

        def twice(flat: Tensor, x: Tensor, v: Tensor) -> Tensor:
            """Without forward mode: the pullback is linear, and its own pullback is the push."""
            f, pull = vjp(lambda flat: self._f(flat, x), flat)[:2]
            return vjp(lambda r: pull(r)[0], torch.zeros_like(f))[1](v)[0]

        def either(flat: Tensor, x: Tensor, v: Tensor) -> Tensor:
            try:
                return of_one(flat, x, v)
            except _UNSUPPORTED:
                return twice(flat, x, v)

        with self._lock, exact_passes():
            flat, inputs = self._vector(params), self._tensor(x, num_axes)
            return self._merged(either, num_axes, flat, inputs, self._vector(v))

    def pull(self, params: np.ndarray, x: np.ndarray, r: np.ndarray, num_axes: int) -> np.ndarray:
        """See `lazyrich.models._torch_primitives.Host`."""

        def of_one(flat: Tensor, x: Tensor, r: Tensor) -> Tensor:
            return vjp(lambda flat: self._f(flat, x), flat)[1](r)[0]

        with self._lock, exact_passes():
            if num_axes == 0:
                f, own = self._graph(params, x)
                found = torch.autograd.grad(
                    f, own, self._vector(r), retain_graph=True, materialize_grads=True
                )
                return np.concatenate([_numpy(g).ravel() for g in found])
            flat, inputs = self._vector(params), self._tensor(x, num_axes)
            return _repeated(of_one, num_axes, flat, inputs, self._vector(r))

    def kernel(self, params: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The tangent kernel of all outputs, shape `(m, m)`."""
        with self._lock:
            named = self._named(self._vector(params))
            return _numpy(gram(self.net, named, self._tensor(x, 0)))

    def _merged(self, f: Callable[..., Tensor], num_axes: int, *args: Tensor) -> np.ndarray:
        """Repeats `f(flat, x, ...)`; if only `x` differs, in one pass over all samples."""
        _, x, *_ = args
        others = (args[0], *args[2:])
        if num_axes and all(other.shape[:num_axes].numel() == 1 for other in others):
            lead, inner = x.shape[: num_axes + 1], x.shape[num_axes + 1 :]
            flat, *rest = (other.reshape(other.shape[num_axes:]) for other in others)
            found = f(flat, x.reshape(-1, *inner), *rest)
            return _numpy(found.reshape(*lead, *found.shape[1:]))
        return _repeated(f, num_axes, *args)


def _repeated(f: Callable[..., Tensor], num_axes: int, *args: Tensor) -> np.ndarray:
    """`f` over the first `num_axes` axes, vectorised if the operations of the module allow it."""
    if num_axes == 0:
        return _numpy(f(*args))
    axes = torch.broadcast_shapes(*(a.shape[:num_axes] for a in args))
    dims, flat = [], []
    for a in args:
        inner = a.shape[num_axes:]
        shared = a.shape[:num_axes].numel() == 1
        dims.append(None if shared else 0)
        flat.append(a.reshape(inner) if shared else a.expand(*axes, *inner).reshape(-1, *inner))
    if all(dim is None for dim in dims):
        found = f(*flat)[None]
    else:
        size = max(a.numel() for a in args) // max(1, axes.numel()) + args[0].shape[-1]
        try:
            chunk = max(1, _ENTRIES // size)
            found = vmap(f, tuple(dims), chunk_size=chunk)(*flat)
        except torch.OutOfMemoryError:
            raise
        except _UNSUPPORTED:
            rows = [
                f(*(a if dim is None else a[i] for a, dim in zip(flat, dims, strict=True)))
                for i in range(axes.numel())
            ]
            found = torch.stack(rows)
    return _numpy(found.reshape(*axes, *found.shape[1:]))


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return first.dtype == second.dtype and np.array_equal(first, second)


def _numpy(found: Tensor) -> np.ndarray:
    return found.detach().cpu().numpy()


def _tried(shape: tuple[int, ...], *, whole: bool) -> np.ndarray:
    """Inputs for a trial: identity numbers 0, which every table has, or fixed numbers."""
    if whole:
        return np.zeros(shape, np.int32)
    return np.random.default_rng(0).normal(size=shape)


def _frozen(net: nn.Module) -> nn.Module:
    """A copy in double precision and `eval` mode; on the processor if the device has no double."""
    try:
        found = copy.deepcopy(net)
    except Exception as error:
        accepted = f"should be copyable by copy.deepcopy ({type(error).__name__}: {error})"
        raise InputError("net", type(net).__name__, accepted) from None
    device = next((p.device for p in found.parameters()), torch.device("cpu"))
    if device.type not in ("cpu", "cuda"):
        found = found.cpu()
    for p in found.parameters():
        p.grad = None
    return found.double().eval()


_WITH_KINKS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Threshold, nn.Hardtanh, nn.Hardsigmoid,
    nn.Hardswish, nn.Hardshrink, nn.Softshrink, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d, nn.FractionalMaxPool2d,
)  # fmt: skip
