"""A PyTorch module as a model."""

import math
from typing import Any, ClassVar

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from .._core.errors import InputError, require
from .._core.precision import as_double, in_double, promoted
from ._torch_primitives import host_call, outputs
from .own import AbstractOwn, of_one_axis


class FromTorch(AbstractOwn):
    r"""A PyTorch module as a model, with the forward and backward passes of the module itself.

    The trainable parameters of the module are the parameters at `init_scale` 1, for every seed:
    a dict of arrays by name. `init_scale` multiplies all of them, and so weights of layer norms
    and biases too.

    - **Takes** `net`, a `torch.nn.Module` that maps inputs `(n, d)` to outputs `(n,)`, `(n, 1)` or
        `(n, c)`. It is copied when the model is made, in float64 and in `eval` mode, and later
        changes of `net` have no effect;
        `input_shape`, the shape of one input if the module does not take vectors, such as
        `(1, 28, 28)`: rows of length $d$ are reshaped to it;
        `token_ids`, whether integer inputs stay integers; by default they do for a net with an
        embedding, and otherwise become float64;
        `undecayed`, the names of parameters that weight decay does not act on;
        `degree` and `kinks` as in [`Functions`][lazyrich.models.Functions]; by default kinks are
        looked for among the layers, where those of `torch.nn.functional` are not seen.
    - The module must be a deterministic function of each input. Dropout and batch statistics in
        train mode are refused.
    - The horizon `t1` of an experiment is the number of steps times the learning rate of SGD, over
        $1 - \beta$ with momentum.
    - Only first derivatives are available. Methods that need more are refused.
    - **Raises** [`InputError`][lazyrich.InputError] for a module that cannot be used, and
        [`ComputationError`][lazyrich.ComputationError] if PyTorch is not installed.
    """

    incidental: ClassVar[frozenset[str]] = frozenset({"net"})  # its content is in `revision`

    net: Any
    input_shape: tuple[int, ...] | None = None
    token_ids: bool | None = None
    undecayed: tuple[str, ...] = ()
    degree: float | None = None
    kinks: bool | None = None

    def __init__(self, *net: Any, **fields: Any):
        # The net can be given without its name, as nothing else is needed.
        given = {"net": net[0]} if len(net) == 1 and "net" not in fields else {}
        super().__init__(*(() if given else net), **given, **fields)

    def model_post_init(self, context: object) -> None:
        del context
        require("torch", "torch", "lazyrich.models.FromTorch")
        from .._torch.snapshot import Snapshot

        held = self.net
        if not isinstance(held, Snapshot):
            held = Snapshot(self.net, self.input_shape)
            held.ids = held.has_embedding if self.token_ids is None else self.token_ids
            self.__dict__["net"] = held
        unknown = sorted(set(self.undecayed) - set(held.params))
        if unknown:
            names = ", ".join(held.params)
            raise InputError("undecayed", unknown[0], f"should be among {names}")

    def revision(self) -> dict[str, Any]:
        return {"content": self.net.content}

    @property
    def has_kinks(self) -> bool:
        return bool(self.net.has_kinks) if self.kinks is None else self.kinks

    @property
    def twice_differentiable(self) -> bool:
        return False

    @in_double
    def init(self, key: PRNGKeyArray, dim: int) -> dict[str, Float[Array, "..."]]:
        del key, dim
        return as_double(self.net.params, "model.net")

    def num_params(self, dim: int) -> int:
        del dim
        return sum(value.size for value in self.net.params.values())

    @property
    def homogeneity(self) -> float | None:
        # Parameters of which only some decay do not shrink together.
        return None if self.undecayed else super().homogeneity

    @property
    def decays_all(self) -> bool:
        return not self.undecayed

    def decayed(self, params: Any) -> Any:
        if not self.undecayed:
            return params
        return {
            name: jnp.zeros_like(value) if name in self.undecayed else value
            for name, value in params.items()
        }

    @promoted
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        x = self.inputs_for(params, x)
        flat = jax.flatten_util.ravel_pytree(params)[0]
        whole = jnp.issubdtype(x.dtype, jnp.integer)
        shape = self.net.output_shape(x.shape[-1], whole)
        return of_one_axis(outputs(self.net, shape, flat, x))

    @promoted
    def cast_inputs(self, x: Shaped[Array, "n d"]) -> Shaped[Array, "n d"]:
        x = jnp.asarray(x)
        whole = self.net.ids and jnp.issubdtype(x.dtype, jnp.integer)
        return x if whole else x.astype(float)

    def check_inputs(self, x: Shaped[Array, "n d"], key: str) -> None:
        shape = self.input_shape
        if shape is not None and x.shape[1] != math.prod(shape):
            accepted = f"should have length {math.prod(shape)}, for inputs of shape {shape}"
            raise InputError(key, f"inputs of length {x.shape[1]}", accepted)

    @promoted
    def tangent_kernel(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, "m m"]:
        f = jax.eval_shape(lambda params: self.apply(params, x), params)
        flat = jax.flatten_util.ravel_pytree(params)[0]
        x = self.inputs_for(params, x)
        return host_call(self.net.kernel, (f.size, f.size), f.dtype, flat, x)

    def table(self) -> dict[str, Any]:
        return {**super().table(), "net": self.net.kind}
