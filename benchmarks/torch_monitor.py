"""What the monitor of a PyTorch training costs: python benchmarks/torch_monitor.py

A two-layer transformer on addition mod 97 with 30 % of the pairs, AdamW, full batches and batches
of 512. In turns: some steps without a monitor, the same number with one that has no record due, and
one record. Medians of each give the share of the monitor in a training of N steps. Times are
processor times of one thread, which other programs on the machine disturb least.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import nn

import lazyrich as lr
from lazyrich.torch._monitor.schedule import LogSteps

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


def measured(batch: int | None, num_pairs: int, num_steps: int) -> dict[str, float]:
    """Medians of processor seconds: of a step, what the monitor adds to it, and a record."""
    torch.manual_seed(0)
    pairs = torch.cartesian_prod(torch.arange(P), torch.arange(P))
    x, y = torch.cat([pairs, torch.full((P * P, 1), P)], 1), pairs.sum(1) % P
    order = torch.randperm(P * P)
    train, test = order[: int(0.3 * P * P)], order[int(0.3 * P * P) :]
    net = Transformer()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1.0)
    monitor = lr.torch.Monitor(
        net, (x[train], y[train]), (x[test], y[test]), optimizer=optimizer, loss="cross_entropy"
    )

    def steps(watched: bool) -> float:
        start = time.process_time()
        for _ in range(num_steps):
            chosen = train if batch is None else train[torch.randint(len(train), (batch,))]
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[chosen]), y[chosen]).backward()
            optimizer.step()
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
    asked = parser.parse_args()
    torch.set_num_threads(1)
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
    FILE.write_text(json.dumps({**machine, "counting": counted, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
