"""Multi-layer perceptrons."""

import itertools
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from .._core.errors import InputError
from .._core.norms import tree_norm
from .._core.precision import in_double, promoted
from ._activations import ACTIVATIONS
from ._base import AbstractModel, Factors, OutputScale, Posed, Readout
from ._linear_maps import with_bias
from ._row_blocks import in_blocks
from .normalisation import Normalisation, normalised
from .theory import Theory

Width = Annotated[int, Ge(1)]


class MLPParams(NamedTuple):
    """Weights `(out, in)` of every layer, and biases.

    `bias` is the bias of the first layer, or empty. `later` holds the biases of all other layers,
    or is None. `gains` and `shifts` follow the normalisation of each hidden layer, or are None.
    """

    weights: tuple[Float[Array, "out in"], ...]
    bias: Float[Array, " h"]
    # None instead of an empty tuple: a loop of diffrax treats an empty tuple as a leaf.
    later: tuple[Float[Array, " out"], ...] | None = None
    gains: tuple[Float[Array, " h"], ...] | None = None
    shifts: tuple[Float[Array, " h"], ...] | None = None


class MLP(AbstractModel):
    r"""A fully connected net.

    $h_1 = \phi(W_1 x + b)$, $h_l = \phi(W_l h_{l-1})$ and $f = \alpha_\text{out} W h_L$. If the
    activation is homogeneous, so is the net: of degree $L + 1$ for ReLU, leaky ReLU (slope 0.01)
    and the identity.

    - **Takes** `widths` of the hidden layers; with `widths = ()` the model is linear and its bias
        is the intercept. `outputs`, the number of outputs; zero for one output without an axis.
        `activation`. `bias`, whether the first layer has a bias, or `"all"` for a bias in every
        layer (not homogeneous). `zero_last`, whether the weights of the last layer start at
        zero, so that the outputs start at zero.
    - `initialisation`, the parameters at `init_scale` 1: `he`, Gaussian weights of variance 2
        over the fan-in, biases zero; `normal`, Gaussian weights of variance 1, biases zero;
        `uniform`, weights and biases uniform between plus and minus one over the square root of
        the fan-in, which is the default of PyTorch.
    - `parametrisation`: `standard`, or `mean_field`. With `mean_field` the products with the
        weights are divided by the square root of the fan-in in hidden layers and by the fan-in
        in the last layer. With Gaussian weights of variance 1 and a wide net, $f$ then starts
        near zero.
    - `output_scale`, $\alpha_\text{out}$.
    - `one_hot`, the number of one-hot blocks of equal length in the inputs; zero for any inputs.
        The first layer is then computed as a sum of columns. The function is the same.
    - `normalisation` of every hidden layer before its activation: `layer` (minus the mean, over
        the standard deviation) or `rms` (over the root mean square), $h_l = \phi(N(W_l h_{l-1} +
        b_l))$, without an $\varepsilon$. $f$ does not depend on the scale of $W_l$, or with a bias
        on the common scale of $(W_l, b_l)$. `affine`, whether trained gains, and with `layer`
        trained shifts, follow; they start at one and zero (times `init_scale`) and are not
        invariant. `normalised_readout`, whether the weights of the last layer are divided by their
        Frobenius norm. With both and without `affine` and a bias of the last layer, $f(c\theta) =
        f(\theta)$ for $c > 0$, see [normalised networks](../../explanation/normalised.md). A
        normalised net has no `homogeneity`: least-norm problems have no solution when a norm has no
        effect.
    - **Raises** [`InputError`][lazyrich.InputError] if `one_hot` is set and the inputs are not of
        this form; for `affine` without normalisation; for a layer of width 1 with `layer`.
    - **Source** the modular-addition net of Lyu et al., ICLR 2024, arXiv:2311.18817: one
        hidden layer of 1024 ReLUs; the nets of Kumar et al., ICLR 2024, arXiv:2310.06110:
        `mean_field` for modular addition and for images, `uniform` for teacher and student.
    """

    numbers: ClassVar[tuple[str, ...]] = ("output_scale",)

    widths: tuple[Width, ...] = (1024,)
    outputs: Annotated[int, Ge(0)] = 0
    activation: Literal["relu", "leaky_relu", "quadratic", "identity", "tanh"] = "relu"
    bias: bool | Literal["all"] = True
    zero_last: bool = False
    initialisation: Literal["he", "normal", "uniform"] = "he"
    parametrisation: Literal["standard", "mean_field"] = "standard"
    output_scale: OutputScale = 1.0
    one_hot: Annotated[int, Ge(0)] = 0
    normalisation: Normalisation = "none"
    affine: bool = False
    normalised_readout: bool = False

    def model_post_init(self, context: object) -> None:
        del context
        if self.normalisation != "none" and not self.widths:
            accepted = "needs a hidden layer, whose outputs it normalises; set widths"
            raise InputError("normalisation", self.normalisation, accepted)
        if self.affine and self.normalisation == "none":
            raise InputError("affine", True, "needs a normalisation, layer or rms")
        if self.normalisation == "layer" and 1 in self.widths:
            accepted = "should be 2 or more with layer: one number minus its mean is zero"
            raise InputError("widths", self.widths, accepted)
        if self.normalised_readout and self.zero_last:
            accepted = "excludes normalised_readout: weights of zero have no direction"
            raise InputError("zero_last", True, accepted)

    @property
    def is_normalised(self) -> bool:
        """Whether a norm divides the outputs of any layer."""
        return self.normalisation != "none" or self.normalised_readout

    @property
    def has_biases(self) -> bool:
        return bool(self.bias) or self.affine

    @property
    def homogeneity(self) -> int | None:
        if self.is_normalised:
            return None
        if self.activation == "tanh" or (self.bias == "all" and self.widths):
            return None
        power, degree = (2 if self.activation == "quadratic" else 1), 0
        for _ in self.widths:
            degree = power * (degree + 1)
        return degree + 1

    def revision(self) -> dict[str, Any]:
        # In earlier versions a linear model had no intercept, so its runs were different.
        return {"intercept": True} if self.bias and not self.widths else {}

    def theory(self, classification: bool) -> Theory:
        del classification
        # The calibrated constants of the family "MLP" are of nets without these.
        of = {"mean_field": "MeanFieldMLP", "standard": "MLP"}[self.parametrisation]
        family, relu = "NormalisedMLP" if self.is_normalised else of, self.activation == "relu"
        like = relu and bool(self.bias) and self.zero_last and self.output_scale == 1
        return Theory(family=family, of_relus=relu, has_margin=like and self.homogeneity == 2)

    @property
    def has_kinks(self) -> bool:
        return bool(self.widths) and self.activation in ("relu", "leaky_relu")

    @property
    def balances_at_kinks(self) -> bool:
        # Where a unit of a later layer switches, the forces on earlier layers jump.
        return len(self.widths) == 1 and not self.is_normalised

    @property
    def alpha_out(self) -> float:
        return self.output_scale

    @in_double
    def init(self, key: PRNGKeyArray, dim: int) -> MLPParams:
        sizes = [dim, *self.widths, max(1, self.outputs)]
        keys = jr.split(key, len(sizes) - 1)
        layers = [
            self._layer(key, out, fan_in)
            for key, out, fan_in in zip(keys, sizes[1:], sizes[:-1], strict=True)
        ]
        weights, biases = map(list, zip(*layers, strict=True))
        if self.zero_last:
            weights[-1] = jnp.zeros_like(weights[-1])
        later = tuple(biases[1:]) if self.bias == "all" and self.widths else None
        bias = biases[0] if self.bias else jnp.zeros(0)
        params = MLPParams(tuple(weights), bias, later)
        if not self.affine:
            return params
        params = params._replace(gains=tuple(map(jnp.ones, self.widths)))
        if self.normalisation == "rms":
            return params
        return params._replace(shifts=tuple(map(jnp.zeros, self.widths)))

    def _layer(self, key: PRNGKeyArray, out: int, fan_in: int) -> tuple[Array, Array]:
        """Initial weights and bias of a layer."""
        if self.initialisation == "uniform":
            bound = fan_in**-0.5
            weight_key, bias_key = jr.split(key)
            weights = jr.uniform(weight_key, (out, fan_in), minval=-bound, maxval=bound)
            return weights, jr.uniform(bias_key, (out,), minval=-bound, maxval=bound)
        size = jnp.sqrt(2 / fan_in) if self.initialisation == "he" else 1.0
        return jr.normal(key, (out, fan_in)) * size, jnp.zeros(out)

    @in_double
    def cast_inputs(self, x: Shaped[Array, "n d"]) -> Shaped[Array, "n d"]:
        return jnp.asarray(x)

    def check_inputs(self, x: Shaped[Array, "n d"], key: str) -> None:
        if not self.one_hot:
            return
        n, dim = x.shape
        blocks = None if dim % self.one_hot else np.asarray(x).reshape(n, self.one_hot, -1)
        if blocks is None or not np.all(np.sort(blocks)[..., -2:] == [0, 1]) or blocks.min() < 0:
            accepted = f"{key} yields inputs {(n, dim)} that are not of as many one-hot blocks"
            raise InputError("model.one_hot", self.one_hot, accepted)

    @promoted
    def apply(self, params: MLPParams, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        last = params.weights[-1]

        def some(x: Array) -> Array:
            return self._layers(params, x)[1][-1] @ last.T

        if self.normalised_readout:
            last = last / tree_norm(last).astype(last.dtype)
        f = in_blocks(some, x, max(self.widths, default=1)) * self._factor(last, last=True)
        bias = self._last_bias(params)
        f = self.output_scale * (f if bias is None else f + bias[None])
        return f if self.outputs else f[:, 0]

    @promoted
    def tangent_kernel(self, params: MLPParams, x: Shaped[Array, "n d"]) -> Float[Array, "m m"]:
        r"""A sum over layers, without a Jacobian with respect to the parameters.

        $K_{(ia),(jb)} = \sum_l \langle h_{l-1,i}, h_{l-1,j} \rangle \langle \delta_{l,ia},
        \delta_{l,jb} \rangle$ with $\delta_l = \partial f / \partial z_l$.
        """
        if self.is_normalised:
            return super().tangent_kernel(params, x)
        before, after = self._layers(params, x)
        n, c = x.shape[0], max(1, self.outputs)
        slope = jax.vmap(jax.vmap(jax.grad(ACTIVATIONS[self.activation])))
        # `inputs` is the Gram matrix of the inputs of a layer, plus 1 if it has a bias. `delta` is
        # the derivative of the outputs with respect to the layer before its activation.
        factors = [self._factor(w) for w in params.weights[:-1]]
        factors.append(self._factor(params.weights[-1], last=True))
        inputs = factors[-1] ** 2 * (after[-1] @ after[-1].T)
        inputs = inputs + float(self._last_bias(params) is not None)
        kernel = jnp.einsum("ij,ab->iajb", inputs, jnp.eye(c, dtype=inputs.dtype))
        last = factors[-1] * params.weights[-1]
        delta = jnp.broadcast_to(last[None], (n, *last.shape))
        for layer in range(len(self.widths), 0, -1):
            delta = delta * slope(before[layer - 1])[:, None, :]
            inputs = factors[layer - 1] ** 2 * (after[layer - 1] @ after[layer - 1].T)
            inputs = inputs + float(bool(params.later if layer > 1 else self.bias))
            flat = delta.reshape(n * c, -1)
            kernel += (flat @ flat.T).reshape(n, c, n, c) * inputs[:, None, :, None]
            delta = delta @ (factors[layer - 1] * params.weights[layer - 1])
        return self.output_scale**2 * kernel.reshape(n * c, n * c)

    @promoted
    def gradient_factors(
        self, params: MLPParams, x: Shaped[Array, "n d"], r: Float[Array, " n *c"]
    ) -> Factors | None:
        r"""Inputs and forces of every layer, last to first: what makes up $J(x_i)^\top r_i$.

        The gradient of $r_i \cdot f(x_i)$ with respect to a layer's weights, and bias as one
        more column where it has one, is the outer product of its force and its input.
        """
        if self.is_normalised:
            return None
        before, after = self._layers(params, x)
        slope = jax.vmap(jax.vmap(jax.grad(ACTIVATIONS[self.activation])))
        force = self.output_scale * (r if self.outputs else r[:, None])
        found = []
        for layer in range(len(self.widths), -1, -1):
            weights, last = params.weights[layer], layer == len(self.widths)
            factor = self._factor(weights, last=last)
            has_bias = bool(params.later if layer > 0 else self.bias)
            ones = jnp.ones((len(x), int(has_bias)), after[layer].dtype)
            inputs = [factor * after[layer], ones]
            found.append((jnp.concatenate(inputs, axis=1), force))
            if layer > 0:
                force = force @ (factor * weights) * slope(before[layer - 1])
        return found

    def layer_weights(self, params: MLPParams) -> tuple[Float[Array, "out in"], ...]:
        return params.weights

    def linear_maps(self, params: MLPParams) -> list[Array]:
        biases = [params.bias if self.bias else None, *(params.later or ())]
        found = itertools.starmap(with_bias, itertools.zip_longest(params.weights, biases))
        return [*found, *(params.gains or ()), *(params.shifts or ())]

    @promoted
    def zero_readout(self, params: MLPParams, x: Shaped[Array, "n d"]) -> Readout | None:
        last = params.weights[-1]
        if not self.outputs or np.any(last):
            return None
        # The gradient of output c with respect to row c of the last layer; other rows have none.
        unit = jnp.zeros((len(x), len(last))).at[:, 0].set(1.0)
        factors = self.gradient_factors(params, x, unit)
        if factors is None:
            return None
        inputs, force = factors[0]

        @promoted
        def place(rows: Float[Array, "c k"]) -> MLPParams:
            change: MLPParams = jax.tree.map(jnp.zeros_like, params)
            width = last.shape[1]
            weights, later = (*change.weights[:-1], rows[:, :width]), change.later
            if later:
                later = (*later[:-1], rows[:, width])
            return change._replace(weights=weights, later=later)

        return Readout(inputs * force[:, :1], place)

    @promoted
    def first_output(self, params: MLPParams) -> Posed | None:
        if self.normalised_readout:
            return None
        one = self.model_copy(update={"outputs": 1})
        weights, later = (*params.weights[:-1], params.weights[-1][:1]), params.later
        if later is not None:
            later = (*later[:-1], later[-1][:1])
        return Posed(one, params._replace(weights=weights, later=later))

    def _last_bias(self, params: MLPParams) -> Array | None:
        """The bias of the last layer, which is the first layer if there are no hidden layers."""
        if not self.widths:
            return params.bias if self.bias else None
        return params.later[-1] if params.later else None

    def _layers(self, params: MLPParams, x: Array) -> tuple[list[Array], list[Array]]:
        """Every hidden layer before its activation; the input and every layer after activation."""
        phi = ACTIVATIONS[self.activation]
        biases = (params.bias if self.bias else None, *(params.later or ())[:-1])
        before, after = [], [x.astype(params.weights[0].dtype)]
        for layer, weights in enumerate(params.weights[:-1]):
            hot = self.one_hot > 0 and layer == 0
            product = self._columns(weights, x) if hot else after[-1] @ weights.T
            z = product * self._factor(weights)
            bias = biases[layer] if layer < len(biases) else None
            if bias is not None:
                z = z + bias[None]
            if self.normalisation != "none":
                z = normalised(z, self.normalisation)
                z = z if params.gains is None else z * params.gains[layer][None]
                z = z if params.shifts is None else z + params.shifts[layer][None]
            before.append(z)
            after.append(phi(z))
        return before, after

    def _columns(self, weights: Array, x: Array) -> Array:
        """The product of the first layer with one-hot inputs."""
        n = x.shape[0]
        places = jnp.argmax(x.reshape(n, self.one_hot, -1), axis=2)
        rows = weights.T.reshape(self.one_hot, -1, weights.shape[0])
        return jnp.sum(rows[jnp.arange(self.one_hot)[None], places], axis=1)

    def _factor(self, weights: Array, last: bool = False) -> float:
        """The factor of the product of a layer with its weights."""
        if self.parametrisation == "standard":
            return 1.0
        fan_in = int(weights.shape[1])
        return 1 / fan_in if last else fan_in**-0.5
