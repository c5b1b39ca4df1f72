"""Forecasts of PyTorch modules by pilots, against the trainings themselves.

python benchmarks/torch_pilot.py

Small nets on addition by AdamW with beta2 = 0.98, and controls with random labels. Each net is
forecast before its training (`lr.torch.forecast`, passage="pilot") and then trained by a plain
loop. No constant is fitted. Prints a line a net and a table, and writes `torch_pilot.json`.
"""

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch_remaining import Setting, begun

import lazyrich as lr
from lazyrich.forecasts.verdict import is_expected, verdict_of
from lazyrich.records.summary import jsonable


@dataclass(frozen=True)
class Result:
    """What was said of a net before its training, and what happened; times are steps."""

    name: str
    kind: str
    random: bool
    verdict: str
    came: str
    right: bool | None
    t50: float
    low: float
    high: float
    came50: float
    cost: float


def settings() -> Iterator[Setting]:
    """A seed, and so a split of the data, for each net."""
    seeds = itertools.count(100)
    for p, rate, decay in itertools.product((19, 23), (2e-3, 5e-3), (0.5, 1.0, 2.0)):
        steps = int(min(10 / (rate * decay), 5000))
        yield Setting("mlp", p, 0.8, rate, decay, 1.0, next(seeds), steps)
    for p, rate in itertools.product((19, 23), (2e-3, 5e-3)):
        yield Setting("mlp", p, 0.8, rate, 1.0, 1.0, next(seeds), int(10 / rate), random=True)
    for rate, decay in itertools.product((2e-3, 4e-3), (1.0, 2.0)):
        yield Setting("transformer", 31, 0.6, rate, decay, 1.5, next(seeds), 2000)
    yield Setting("transformer", 31, 0.6, 4e-3, 1.0, 1.5, next(seeds), 2000, random=True)


def forecast_and_trained(setting: Setting) -> Result:
    """The forecast of a net, and its training up to the planned step."""
    net, train, test = begun(setting)
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=setting.rate, weight_decay=setting.decay, betas=setting.betas
    )
    found = lr.torch.forecast(
        net, train, test, loss="cross_entropy", optimizer=optimizer, steps=setting.steps,
        passage="pilot",
    )  # fmt: skip
    # The first record after the start is that of the first step of the pilot.
    cost = sum(1 / float(pilot["time"][1]) for pilot in found.pilots)
    monitor = lr.torch.Monitor(net, train, test, optimizer=optimizer, loss="cross_entropy")
    for _ in range(setting.steps):
        optimizer.zero_grad()
        cross_entropy(net(train[0]), train[1]).backward()
        optimizer.step()
        monitor.step()
    monitor.finish()
    events = lr.transition(monitor.record)
    return Result(
        setting.name, setting.kind, setting.random, found.verdict, verdict_of(events),
        is_expected(found.verdict, events.outcome), found.step50, *found.step50_interval,
        events.t50, cost,
    )  # fmt: skip


def table(results: list[Result]) -> dict[str, dict[str, float]]:
    """Errors, coverage, verdicts and cost by kind of net."""
    found = {}
    for kind, random in itertools.product(("mlp", "transformer"), (False, True)):
        some = [r for r in results if (r.kind, r.random) == (kind, random)]
        dated = [r for r in some if not math.isnan(r.t50 + r.came50)]
        off = [abs(math.log(r.t50 / r.came50)) for r in dated]
        found[kind + (", random labels" if random else "")] = {
            "nets": len(some),
            "verdict none": sum(r.verdict == "none" for r in some),
            "generalises or not, right": sum(
                (r.verdict in ("grok", "immediate")) == (r.came in ("grok", "immediate"))
                for r in some
            ),
            "with both times": len(dated),
            "median error": float(np.median(off)) if off else math.nan,
            "largest error": max(off, default=math.nan),
            "in the interval": sum(r.low <= r.came50 <= r.high for r in dated),
            "mean cost": float(np.mean([r.cost for r in some])),
        }
    return found


def main() -> None:
    """Prints and writes all numbers."""
    torch.set_num_threads(1)
    results = []
    for setting in settings():
        results.append(forecast_and_trained(setting))
        print(json.dumps(asdict(results[-1])), flush=True)
    found = table(results)
    print(json.dumps(jsonable(found), indent=1))
    text = json.dumps(jsonable({"table": found, "nets": list(map(asdict, results))}), indent=1)
    Path(__file__).with_suffix(".json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
