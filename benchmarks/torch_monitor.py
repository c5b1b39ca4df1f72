"""What the monitor of a PyTorch training costs: python benchmarks/torch_monitor.py

A two-layer transformer on addition mod 97 with 30 % of the pairs, AdamW, full batches and batches
of 512. In turns: some steps without a monitor, the same number with one that has no record due, and
one record. Medians of each give the share of the monitor in a training of N steps. With `--whole N`
two whole trainings of N steps, one of them with a monitor, take their steps in turns instead, from
the same weights and on the same batches. With `--parts` one record is taken apart. Times are
processor times of one thread, which other programs on the machine disturb least.
"""

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

import lazyrich as lr
from lazyrich.torch._monitor.measures import MEASURES, fit
from lazyrich.torch._monitor.schedule import LogSteps
from lazyrich.torch._monitor.view import View

MONITOR = lr.torch.Monitor  # so that the times do not contain the import of lazyrich
P = 97
FILE = Path(__file__).with_suffix(".json")


class Transformer(nn.Module):
    """Two layers of width 128 with four heads, on a, b and a sign of equality."""

    def __init__(self, d: int = 128):
        super().__init__()
        self.table = nn.Embedding(P + 1, d)
        self.place = nn.Parameter(torch.randn(3, d) / d**0.5)
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(d, 4, 4 * d, 0.0, batch_first=True, norm_first=True)
                for _ in range(2)
            )
        )
        self.out = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, P, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs at the last position."""
        return self.out(self.layers(self.table(x) + self.place)[:, -1])


class Training:
    """A training, with its monitor if it is watched. Equal ones have equal weights and data."""

    def __init__(self, watched: bool):
        torch.manual_seed(0)
        pairs = torch.cartesian_prod(torch.arange(P), torch.arange(P))
        self.x, self.y = torch.cat([pairs, torch.full((P * P, 1), P)], 1), pairs.sum(1) % P
        order = torch.randperm(P * P)
        train, test = order[: int(0.3 * P * P)], order[int(0.3 * P * P) :]
        self.train, self.net = train, Transformer()
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3, weight_decay=1.0)
        self.monitor: lr.torch.Monitor | None = None
        start = time.process_time()
        if watched:
            self.monitor = MONITOR(
                self.net,
                (self.x[train], self.y[train]),
                (self.x[test], self.y[test]),
                optimizer=self.optimizer,
                loss="cross_entropy",
            )
        self.set_up = time.process_time() - start

    def step(self, batch: int | None) -> None:
        """A step of the optimiser, on all pairs or on some that are drawn."""
        chosen = self.train
        if batch is not None:
            chosen = chosen[torch.randint(len(chosen), (batch,))]
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.net(self.x[chosen]), self.y[chosen]).backward()
        self.optimizer.step()


def whole(batch: int | None, num_steps: int) -> dict[str, float | bool]:
    """Processor seconds of two whole trainings, the standard error of their difference, and
    whether they end with the same weights."""
    plain, watched = Training(watched=False), Training(watched=True)
    assert watched.monitor is not None
    seconds = {False: [0.0], True: [watched.set_up]}
    for step in range(1, num_steps + 1):
        # Each goes first every other time.
        for training in (plain, watched) if step % 2 else (watched, plain):
            torch.manual_seed(step)
            start = time.process_time()
            training.step(batch)
            if training.monitor is not None:
                training.monitor.step()
            seconds[training is watched].append(time.process_time() - start)
    start = time.process_time()
    watched.monitor.finish()
    seconds[True].append(time.process_time() - start)
    due = set(LogSteps(20).until(num_steps))
    # Steps without a record differ by noise only.
    noise = [seconds[True][i] - seconds[False][i] for i in range(1, num_steps + 1) if i not in due]
    total = {each: sum(values) for each, values in seconds.items()}
    ends = zip(plain.net.parameters(), watched.net.parameters(), strict=True)
    return {
        "steps": num_steps,
        "set_up": watched.set_up,
        "plain": total[False],
        "watched": total[True],
        "share": total[True] / total[False] - 1,
        "error": statistics.stdev(noise) * num_steps**0.5 / total[False],
        "same": all(torch.equal(a, b) for a, b in ends),
    }


def measured(batch: int | None, num_pairs: int, num_steps: int) -> dict[str, float]:
    """Medians of processor seconds: of a step, what the monitor adds to it, and a record."""
    training = Training(watched=True)
    monitor = training.monitor
    assert monitor is not None

    def steps(watched: bool) -> float:
        start = time.process_time()
        for _ in range(num_steps):
            training.step(batch)
            if watched:
                monitor._count()
        return (time.process_time() - start) / num_steps

    def record() -> float:
        start = time.process_time()
        monitor._measure()
        return time.process_time() - start

    steps(watched=False)
    record()
    found: dict[str, list[float]] = {"step": [], "added": [], "record": []}
    for _ in range(num_pairs):
        without, with_ = steps(watched=False), steps(watched=True)
        found["step"].append(without)
        found["added"].append(with_ - without)
        found["record"].append(record())
    return {name: statistics.median(values) for name, values in found.items()}


def parts(num: int) -> dict[str, float]:
    """Medians of processor milliseconds of the parts of a record."""
    training = Training(watched=True)
    assert training.monitor is not None
    training.step(512)
    found: dict[str, list[float]] = {}

    def part(name: str, called: Callable[[], object]) -> None:
        start = time.process_time()
        called()
        found.setdefault(name, []).append(1e3 * (time.process_time() - start))

    for _ in range(num):
        view = View(training.monitor._setting)
        part("passes of test samples", partial(getattr, view, "f_test"))
        part("passes of training samples", partial(getattr, view, "f_train"))
        part("losses, accuracies, margins", partial(fit, view))
        part("gradient", partial(getattr, view, "gradient"))
        for name, measure in MEASURES.items():
            part(name, partial(measure, view))
        start = time.process_time()
        training.step(512)
        found.setdefault("a training step of 512", []).append(1e3 * (time.process_time() - start))
    return {name: statistics.median(values) for name, values in found.items()}


def enough(cost: float) -> int:
    """The number of steps from which records that cost `cost` steps each are at most 1 %."""
    # 20 records a factor of 10 cost less than 1 % long before this step.
    due = LogSteps(20).until(math.ceil(1e6 * max(cost, 1) ** 1.5))
    # Between two records the share falls.
    above = [num for num, step in enumerate(due, 1) if num * cost > 0.01 * max(step, 1)]
    return math.ceil(100 * above[-1] * cost) if above else 1


def counting(num: int = 20_000) -> float:
    """Processor seconds of `monitor.step()` and its hook, when no record is due."""
    net = nn.Linear(1, 1)
    x, y = torch.zeros(4, 1), torch.zeros(4)
    optimizer = torch.optim.AdamW(net.parameters())
    monitor = lr.torch.Monitor(net, (x, y), (x, y), optimizer=optimizer, loss="squared")
    monitor._next = 10 * num
    start = time.process_time()
    for _ in range(num):
        monitor._steps.count()
        monitor.step()
    return (time.process_time() - start) / num


def main() -> None:
    """Prints a table, and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--whole", type=int, metavar="N")
    parser.add_argument("--batch", type=int, help="of the whole trainings; default: full batches")
    parser.add_argument("--parts", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.parts:
        found = parts(asked.pairs)
        for name, milliseconds in found.items():
            print(f"{milliseconds:7.1f} ms  {name}")
        passes = sum(value for name, value in found.items() if name.startswith("passes"))
        cost = passes / found["a training step of 512"]
        print(f"its passes: {cost:.2f} steps of 512, at most 1 % from {enough(cost):,} steps on")
        return
    if asked.whole:
        found = whole(asked.batch, asked.whole)
        print(f"{asked.whole} steps: {found['plain']:.1f} s, watched {found['watched']:.1f} s, "
              f"+{100 * found['share']:.2f} % +- {100 * found['error']:.2f} %, "
              f"same weights: {found['same']}")  # fmt: skip
        kept = json.loads(FILE.read_text())
        kept.setdefault("whole", []).append({"batch": asked.batch, **found})
        FILE.write_text(json.dumps(kept, indent=1) + "\n")
        return
    counted = counting()
    print(f"counting a step: {1e6 * counted:.0f} µs")
    rows = []
    for batch in (None, 512):
        found = measured(batch, asked.pairs, asked.steps)
        name = "full batch" if batch is None else f"batch {batch}"
        print(f"{name}: step {1e3 * found['step']:.1f} ms, record {1e3 * found['record']:.1f} ms, "
              f"added to a step {1e3 * found['added']:.2f} ms (noise included)")  # fmt: skip
        shares = {}
        for num in (1_000, 3_000, 10_000, 30_000, 100_000):
            cost = len(LogSteps(20).until(num)) * found["record"] + num * counted
            shares[str(num)] = cost / (num * found["step"])
            print(f"  {num:>7,} steps: {100 * shares[str(num)]:.2f} %")
        rows.append({"batch": batch, **found, "share": shares})
    machine = {"machine": platform.machine(), "torch": torch.__version__, "threads": 1}
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    made = {**machine, "counting": counted, "rows": rows, "whole": kept.get("whole", [])}
    FILE.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
