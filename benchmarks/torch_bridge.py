"""The cost of calling a PyTorch module from compiled code.

python benchmarks/torch_bridge.py

Times the gradient of the mean squared output of three nets, through `FromTorch`, as the same
function in plain JAX, and in PyTorch itself without any bridge, one after the other in every round.
Prints medians in milliseconds a gradient and the ratio to plain JAX.
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

import lazyrich as lr

ROUNDS = 60


def in_jax(p: Any, x: Any) -> Any:
    h = jnp.tanh(x @ p["0.weight"].T + p["0.bias"])
    h = jnp.tanh(h @ p["2.weight"].T + p["2.bias"])
    return h @ p["4.weight"].T + p["4.bias"]


def timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(call())
    return 1e3 * (time.perf_counter() - begun)


def measure(width: int, num: int) -> tuple[float, float, float]:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(20, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 5)
    ).double()
    x = np.random.default_rng(0).normal(size=(num, 20))
    model = lr.models.FromTorch(net)
    params = model.init(jax.random.key(0), 20)
    inputs, given = torch.from_numpy(x), jnp.asarray(x)

    def gradient(apply: Any) -> Any:
        return jax.jit(jax.grad(lambda p: jnp.mean(apply(p, given) ** 2)))

    ours, theirs = gradient(model.apply), gradient(in_jax)

    def own() -> Any:
        return torch.autograd.grad(net(inputs).square().mean(), list(net.parameters()))

    rows = []
    for k in range(ROUNDS):
        # Other parameters in every call, as in a solve: equal ones would not be copied again.
        p = jax.tree.map(lambda p, k=k: p * (1 + 1e-3 * k), params)
        calls = (functools.partial(ours, p), functools.partial(theirs, p), own)
        rows.append([timed(call) for call in calls])
    first, second, third = (statistics.median(column) for column in zip(*rows[5:], strict=True))
    return first, second, third


def main() -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, jax {jax.__version__}, one thread of PyTorch")
    print("width  samples   bridge ms   JAX ms   PyTorch ms   bridge / JAX")
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        for width, num in ((16, 32), (128, 256), (512, 1024)):
            ours, theirs, own = measure(width, num)
            line = f"{width:5d}  {num:7d}   {ours:9.2f}   {theirs:6.2f}   {own:10.2f}"
            print(f"{line}   {ours / theirs:12.1f}")


if __name__ == "__main__":
    main()
