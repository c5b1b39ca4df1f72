"""The calls of a forward pass that use parameters."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# The parts whose gradients are outer products.
_PAIRS = ("linear", "matmul", "embedding")


class Part(NamedTuple):
    """What a parameter does in one call.

    - `role`: the weight of a `linear` map, a `matmul` or an `embedding`; `added` to the output, or
        `scaled` by an input.
    - `place`, which of the calls; `shape`, of its output; `padding`, the index of an embedding
        whose row has no gradient.
    """

    role: str
    name: str
    place: int
    shape: torch.Size
    padding: int | None = None

    @property
    def is_pair(self) -> bool:
        """Whether the gradient is an outer product of an input and a gradient at the output."""
        return self.role in _PAIRS

    @property
    def unshaped(self) -> "Part":
        """The same for any number of samples."""
        return self._replace(place=0, shape=torch.Size())


class Calls(TorchFunctionMode):
    """Notes the calls of PyTorch's functions that use some parameters.

    - **Takes** `params`; `kept`, whether outputs and inputs are kept, for a backward pass.
    - `parts`; `outputs` and `inputs`, by place; `others`, parameters that other calls use.
    """

    def __init__(self, params: dict[str, Tensor], *, kept: bool = False):
        super().__init__()
        self.names = {id(value): name for name, value in params.items()}
        self.kept = kept
        self.parts, self.others = list[Part](), set[str]()
        self.outputs, self.inputs, self._num = list[Tensor](), list[Tensor](), 0

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        """Handles a call."""
        kwargs = kwargs or {}
        known = _KNOWN.get(func)
        found = None if known is None else known(self, *args, **kwargs)
        if found is None:
            found = func(*args, **kwargs)
            if isinstance(found, Tensor) or next(_tensors((found,)), None) is not None:
                self._other(args)
                self._other(kwargs.values())
        return found

    def _has(self, value: Any) -> bool:
        return id(value) in self.names

    def _other(self, values: Any) -> None:
        self.others |= {self.names[id(value)] for value in _tensors(values) if self._has(value)}

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
        if not (self._has(weight) or self._has(bias)) or weight.ndim != 2:
            return None
        out = functional.linear(x, weight, bias)
        return self._noted(x, out, linear=weight, added=bias)

    def _matmul(self, x: Tensor, weight: Tensor) -> Tensor | None:
        if not self._has(weight) or weight.ndim != 2:
            return None
        return self._noted(x, torch.matmul(x, weight), matmul=weight)

    def _embedding(
        self, x: Tensor, weight: Tensor, padding_idx: int | None = None,
        max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Tensor | None:  # fmt: skip
        if not self._has(weight) or max_norm is not None or scale_grad_by_freq:
            return None
        out = functional.embedding(x, weight, padding_idx)
        padding = None if padding_idx is None else padding_idx % len(weight)
        return self._noted(x, out, padding, embedding=weight)

    def _layer_norm(
        self, x: Tensor, shape: Any, weight: Tensor | None = None, bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor | None:  # fmt: skip
        if not (self._has(weight) or self._has(bias)):
            return None
        out = functional.layer_norm(x, shape, weight, bias, eps)
        unit = functional.layer_norm(x.detach(), shape, None, None, eps) if self.kept else x
        return self._noted(unit, out, scaled=weight, added=bias)

    def _rms_norm(
        self, x: Tensor, shape: Any, weight: Tensor | None = None, eps: float | None = None
    ) -> Tensor | None:
        if not self._has(weight):
            return None
        out = functional.rms_norm(x, shape, weight, eps)
        unit = functional.rms_norm(x.detach(), shape, None, eps) if self.kept else x
        return self._noted(unit, out, scaled=weight)

    def _add(self, x: Any, y: Any, *, alpha: float = 1) -> Tensor | None:
        if self._has(x) == self._has(y) or alpha != 1:
            return None
        param, other = (x, y) if self._has(x) else (y, x)
        return self._noted(other, x + y, added=param) if isinstance(other, Tensor) else None

    def _multiply(self, x: Any, y: Any) -> Tensor | None:
        if self._has(x) == self._has(y):
            return None
        param, other = (x, y) if self._has(x) else (y, x)
        if not isinstance(other, Tensor):
            return None
        out = x * y
        return self._noted(other.expand(out.shape), out, scaled=param)

    def _attention(
        self, query: Tensor, key: Tensor, value: Tensor, width: int, num_heads: int,
        in_weight: Tensor | None, in_bias: Tensor | None, bias_k: Tensor | None,
        bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float, out_weight: Tensor,
        out_bias: Tensor | None, **options: Any,
    ) -> tuple[Tensor, Tensor | None] | None:  # fmt: skip
        """Self-attention, with the maps before and after it as calls of their own."""
        of_itself = query is key and key is value and in_weight is not None and bias_k is None
        if not of_itself or not self._has(in_weight) or not self._has(out_weight):
            return None
        inner = self._linear(query, in_weight, in_bias)  # type: ignore[arg-type]
        assert inner is not None
        # A product with the unit matrix changes no bit.
        unit = torch.eye(width, dtype=inner.dtype, device=inner.device)
        separate = {f"{name}_proj_weight": unit for name in "qkv"}
        attention: Callable[..., Any] = functional.multi_head_attention_forward
        mixed, shares = attention(
            *inner.chunk(3, -1), width, num_heads, None, None, None, bias_v, add_zero_attn,
            dropout_p, unit, None, **{**options, "use_separate_proj_weight": True, **separate},
        )  # fmt: skip
        found = self._linear(mixed, out_weight, out_bias)
        assert found is not None
        return found, shares

    def _noted(
        self, x: Tensor, out: Tensor, padding: int | None = None, **roles: Tensor | None
    ) -> Tensor:
        if self._has(x):
            self._other((x,))
        place, self._num = self._num, self._num + 1
        for role, param in roles.items():
            if param is not None and self._has(param):
                name = self.names[id(param)]
                self.parts.append(Part(role, name, place, out.shape, padding))
        if not self.kept:
            return out
        if not out.requires_grad:
            out.requires_grad_()
        self.inputs.append(x.detach())
        self.outputs.append(out)
        return out.clone()  # which an activation may overwrite


_KNOWN: dict[Any, Callable[..., Any]] = {
    functional.linear: Calls._linear,
    functional.embedding: Calls._embedding,
    functional.layer_norm: Calls._layer_norm,
    functional.rms_norm: Calls._rms_norm,
    functional.multi_head_attention_forward: Calls._attention,
    **dict.fromkeys((torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__), Calls._add),
    **dict.fromkeys((torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__), Calls._multiply),
    **dict.fromkeys(
        (torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__), Calls._matmul
    ),
}  # fmt: skip


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
        elif isinstance(value, dict):
            yield from _tensors(value.values())
