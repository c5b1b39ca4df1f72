"""Panel kumar2024/6a at full size, step by step against PyTorch.

python benchmarks/torch_digits.py [--steps 1000] [--source mnist_5k]

Trains the net of the panel (784-200-200-200-10 ReLUs on 1,000 images of MNIST, weights 150 times
too large, AdamW, batches of 200, float64) by lazyrich and by a loop of PyTorch, from the same
weights and with the same batches in the same order, at each of the panel's output scales. Prints
the largest relative differences of training loss, test loss and weights over the steps, and the
seconds of both. Exit code 1 if one of them exceeds 1e-5.
"""

import argparse
import math
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import lazyrich as lr
from lazyrich._run.prepared import prepare
from lazyrich.tasks import Samples

MOST = 1e-5
SCALES = (1e-3, 0.01, 0.05, 0.5)  # those of the panel


def orders(dynamics: Any, num: int, steps: int) -> list[np.ndarray]:
    """The samples of each step."""
    with jax.enable_x64(True):
        numbers = Samples(jnp.arange(num)[:, None], jnp.arange(num))
        draws, found = dynamics.first_draws(numbers), []
        draw = jax.jit(dynamics.draw)
        for step in range(steps):
            batch, draws = draw(numbers, draws, jnp.asarray(step))
            found.append(np.asarray(batch.y))
    return found


class Net(torch.nn.Module):
    """The panel's net, with the products divided as Kumar et al. do."""

    def __init__(self, weights: Any, output_scale: float):
        super().__init__()
        self.weights = torch.nn.ParameterList(torch.tensor(np.asarray(w)) for w in weights)
        self.output_scale = output_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        *hidden, last = self.weights
        for w in hidden:
            x = torch.relu(x @ w.T / math.sqrt(w.shape[1]))
        return self.output_scale * (x @ last.T) / last.shape[1]


def lossy(net: Net, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean over samples of the squared distance to one-hot labels."""
    return ((net(x) - torch.nn.functional.one_hot(y.long(), 10)) ** 2).sum(1).mean()


def compare(experiment: lr.Experiment, steps: int) -> dict[str, float]:
    """The largest relative differences over the recorded steps, and seconds."""
    rate = experiment.value("dynamics.learning_rate")
    begun = time.perf_counter()
    record = lr.simulate(experiment, keep_params=[0.0, steps * rate])
    ours = time.perf_counter() - begun
    split = prepare(experiment).data.split
    with jax.enable_x64(True):
        train = [torch.tensor(np.asarray(a)) for a in (split.train.x, split.train.y)]
        blocks = list(split.test)
        test = [
            torch.tensor(np.concatenate(a)) for a in zip(*((b.x, b.y) for b in blocks), strict=True)
        ]
    net = Net(record.params(0.0).weights, experiment.value("model.output_scale"))
    decay = experiment.weight_decay
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
    at = {round(t / rate): place for place, t in enumerate(record["time"].values.tolist())}
    worst = {"train_loss": 0.0, "test_loss": 0.0}
    chosen = orders(experiment.dynamics, len(train[1]), steps)
    begun, aside = time.perf_counter(), 0.0
    for step in range(steps + 1):
        if step in at:
            paused = time.perf_counter()
            with torch.no_grad():
                for name, (x, y) in (("train_loss", train), ("test_loss", test)):
                    theirs = float(lossy(net, x, y))
                    off = abs(float(record[name][at[step]]) / theirs - 1)
                    worst[name] = max(worst[name], off)
            aside += time.perf_counter() - paused
        if step < steps:
            batch = torch.tensor(chosen[step])
            optimizer.zero_grad()
            lossy(net, train[0][batch], train[1][batch]).backward()
            optimizer.step()
    theirs = time.perf_counter() - begun - aside
    last = record.params(steps * rate).weights
    pairs = [(np.asarray(a), b.detach().numpy()) for a, b in zip(last, net.weights, strict=True)]
    worst["weights"] = max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)
    return {**worst, "records": len(at), "ours": ours, "theirs": theirs}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--source", default="mnist_5k")
    given = parser.parse_args()
    panel = lr.studies.load("kumar2024/6a")
    print("output scale  records  train loss  test loss  weights   seconds, PyTorch")
    wrong = False
    for scale in SCALES:
        experiment = panel.with_changes(
            {
                "task.source": given.source,
                "t1": given.steps * panel.value("dynamics.learning_rate"),
                "model.output_scale": scale,
                "precision": "float64",
            }
        )
        found = compare(experiment, given.steps)
        worst = [found[name] for name in ("train_loss", "test_loss", "weights")]
        wrong |= max(worst) > MOST
        shown = "  ".join(f"{value:9.1e}" for value in worst)
        seconds = f"{found['ours']:.1f}, {found['theirs']:.1f}"
        print(f"{scale:<12g}  {found['records']:7d}  {shown}   {seconds}", flush=True)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
