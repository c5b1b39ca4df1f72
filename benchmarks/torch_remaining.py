"""When a PyTorch training will generalise: forecast during it, against what then happens.

python benchmarks/torch_remaining.py STORE [--only mlp|sgd|transformer] [--cached] [--few]

Trains small nets on addition with a plain loop and a monitor, and asks `lr.remaining` at every
record. MLPs and transformers of the seeds 0 and 1 calibrate the rates of
`src/lazyrich/forecasts/margin_clock.py`; all others are held out. Compared with the norm law of
arXiv:2605.18845, whose two constants are fitted for each net to the same calibrating runs. Prints a
table, and writes `torch_remaining.json` and `docs/figures/remaining.png`. With `--few` the
trainings are others, with few classes: additions modulo 7 to 13, and the parity of 3 of 10 bits;
they are all held out, and the numbers are written to `torch_remaining_few.json`. What STORE holds
is not trained again.
"""

import argparse
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
import xarray as xr
from norm_law import NormLaw, Rows
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional

import lazyrich as lr
from lazyrich.forecasts import margin_clock
from lazyrich.forecasts.verdict import verdict_of
from lazyrich.records.transition.crossing import crossing

ROOT = Path(__file__).parents[1]
# A run ends at this multiple of the step at which its test accuracy is 0.97.
_AFTER = 1.5
_GENERALISED = ("grokked", "gradual", "immediate", "improved")
_KINDS = ("mlp", "default betas", "transformer", "sgd", "small p", "parity")


@dataclass(frozen=True)
class Setting:
    """One training. `random`: labels are drawn at random, as a null control."""

    kind: str
    p: int
    share: float
    rate: float
    decay: float
    scale: float
    seed: int
    steps: int
    random: bool = False

    @property
    def name(self) -> str:
        control = "-random" if self.random else ""
        numbers = f"p{self.p}-lr{self.rate:g}-wd{self.decay:g}-x{self.scale:g}-s{self.seed}"
        return f"{self.kind.replace(' ', '-')}-{numbers}{control}"

    @property
    def betas(self) -> tuple[float, float]:
        """Those of Power et al. 2022, or those of PyTorch."""
        return 0.9, 0.999 if self.kind == "default betas" else 0.98


class MLP(nn.Module):
    """On pairs of numbers below `p`."""

    def __init__(self, p: int, width: int = 128):
        super().__init__()
        self.p = p
        self.first, self.last = nn.Linear(2 * p, width), nn.Linear(width, p)

    def forward(self, x: Tensor) -> Tensor:
        one_hot = functional.one_hot(x, self.p).to(self.first.weight.dtype).flatten(1)
        return self.last(functional.relu(self.first(one_hot)))


class Transformer(nn.Module):
    """One layer without normalisation, as in Nanda et al. 2023, of width 32."""

    def __init__(self, p: int, width: int = 32, heads: int = 4):
        super().__init__()
        self.p, self.heads = p, heads
        self.embed = nn.Embedding(p + 1, width)
        self.position = nn.Parameter(torch.randn(3, width) / math.sqrt(width))
        nn.init.normal_(self.embed.weight, std=1 / math.sqrt(width))
        self.attend = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.out = nn.Linear(width, p, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        num = len(x)
        z = self.embed(torch.cat([x, torch.full((num, 1), self.p)], 1)) + self.position
        qkv = self.attend(z).view(num, 3, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        z = z + self.mix(a.transpose(1, 2).reshape(num, 3, -1))
        z = z + self.down(functional.relu(self.up(z)))
        found: Tensor = self.out(z[:, -1])
        return found


def few() -> Iterator[Setting]:
    """Trainings with few classes, and controls: a seed, and so a split, each."""
    seeds = itertools.count()
    for rate, decay in itertools.product((2e-3, 5e-3), (0.5, 1.0)):
        for share in (0.1, 0.13, 0.17):
            yield Setting("parity", 10, share, rate, decay, 1.0, next(seeds), 4000)
    for rate, share in itertools.product((2e-3, 5e-3), (0.1, 0.13, 0.17)):
        yield Setting("parity", 10, share, rate, 1.0, 1.0, next(seeds), 2000, random=True)
    for rate, decay in itertools.product((5e-3, 1e-2), (0.5, 1.0)):
        for p in (7, 11, 13):
            yield Setting("small p", p, 0.87, rate, decay, 1.0, next(seeds), 4000)
    for rate, p in itertools.product((5e-3, 1e-2), (7, 11, 13)):
        yield Setting("small p", p, 0.87, rate, 1.0, 1.0, next(seeds), 2000, random=True)


def settings() -> Iterator[Setting]:
    """All trainings. Held-out runs by AdamW with beta_2 = 0.98 have a split each."""
    for seeds in (itertools.repeat(0), itertools.repeat(1), itertools.count(2)):
        yield from _mlps(seeds)
    for seeds in (itertools.repeat(0), itertools.repeat(1), itertools.count(2)):
        yield from _transformers(seeds)
    for rate, decay in itertools.product((0.2, 0.5), (3e-4, 1e-3)):
        for p in (23, 31):
            yield Setting("sgd", p, 0.75, rate, decay, 1.0, 0, 10_000)
    yield Setting("sgd", 23, 0.75, 0.5, 1e-3, 1.0, 0, 5000, random=True)
    for rate, decay in itertools.product((2e-3, 5e-3, 1e-2), (0.3, 1.0)):
        for p in (23, 31):
            steps = int(min(16 / (rate * decay), 12_000))
            yield Setting("default betas", p, 0.75, rate, decay, 1.0, 1, steps)


def _mlps(seeds: Iterator[int]) -> Iterator[Setting]:
    """Three rates, three decays and three scales, in turn modulo 23 and 31, and controls."""
    moduli = itertools.cycle((23, 31))
    for rate, decay in itertools.product((2e-3, 5e-3, 1e-2), (0.3, 1.0, 2.0)):
        for scale in (1.0, 2.0, 4.0):
            steps = int(min(16 / (rate * min(decay, 1.0)), 12_000))
            yield Setting("mlp", next(moduli), 0.75, rate, decay, scale, next(seeds), steps)
    for rate in (2e-3, 5e-3, 1e-2):
        for p, decay in ((23, 0.3), (31, 1.0)):
            steps = int(min(16 / (rate * decay), 6000))
            yield Setting("mlp", p, 0.75, rate, decay, 1.0, next(seeds), steps, random=True)


def _transformers(seeds: Iterator[int]) -> Iterator[Setting]:
    """Three rates and three decays, and controls."""
    for rate, decay in itertools.product((2e-3, 4e-3, 8e-3), (0.5, 1.0, 2.0)):
        yield Setting("transformer", 31, 0.6, rate, decay, 1.5, next(seeds), 3000)
    for rate in (4e-3, 8e-3):
        yield Setting("transformer", 31, 0.6, rate, 1.0, 1.5, next(seeds), 2000, random=True)


def is_held_out(setting: "Setting | Asked") -> bool:
    """Whether a run does not calibrate: MLPs and transformers of the seeds 0 and 1 do."""
    return setting.kind not in ("mlp", "transformer") or setting.seed >= 2


def _addition(setting: Setting) -> tuple[nn.Module, Tensor, Tensor]:
    p = setting.p
    net = Transformer(p) if setting.kind == "transformer" else MLP(p)
    x = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    return net, x, torch.randint(0, p, (p * p,)) if setting.random else x.sum(1) % p


def _parity(setting: Setting) -> tuple[nn.Module, Tensor, Tensor]:
    """All signs of p bits, and the class of the product of three of them."""
    x = 2.0 * torch.cartesian_prod(*[torch.arange(2)] * setting.p).float() - 1
    net = nn.Sequential(nn.Linear(setting.p, 128), nn.ReLU(), nn.Linear(128, 2))
    y = (x[:, :3].prod(1) > 0).long()
    return net, x, y[torch.randperm(len(y))] if setting.random else y


Data = tuple[Tensor, Tensor]


def begun(setting: Setting) -> tuple[nn.Module, Data, Data]:
    """The net before its training, training data and test data."""
    torch.manual_seed(setting.seed + 1000 * setting.p)
    net, x, y = _parity(setting) if setting.kind == "parity" else _addition(setting)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(setting.scale)
    order = torch.randperm(len(y))
    n = int(setting.share * len(y))
    return net, (x[order[:n]], y[order[:n]]), (x[order[n:]], y[order[n:]])


def train(setting: Setting) -> xr.Dataset:
    """The record of a training, by a monitor with its default settings."""
    net, train, test = begun(setting)
    if setting.kind == "sgd":
        optimizer: Any = torch.optim.SGD(
            net.parameters(), lr=setting.rate, momentum=0.9, weight_decay=setting.decay
        )
    else:
        optimizer = torch.optim.AdamW(
            net.parameters(), lr=setting.rate, weight_decay=setting.decay, betas=setting.betas
        )
    monitor = lr.torch.Monitor(
        net, train, test, optimizer=optimizer, loss="cross_entropy", name=setting.name
    )
    done = math.inf
    for step in range(1, setting.steps + 1):
        optimizer.zero_grad()
        functional.cross_entropy(net(train[0]), train[1]).backward()
        optimizer.step()
        monitor.step()
        if step % 50 == 0 and done == math.inf:
            with torch.no_grad():
                right = (net(test[0]).argmax(1) == test[1]).double().mean()
            done = step * _AFTER if right >= 0.97 else math.inf
        if step > done:
            break
    monitor.finish()
    return monitor.record


def recorded(setting: Setting, store: Path) -> xr.Dataset:
    """The record from the store, or of a training now."""
    path = store / f"{setting.name}.nc"
    if not path.exists():
        lr.save_record(train(setting), path)
    return lr.open_record(path)


@dataclass(frozen=True)
class Asked:
    """What was said at one record, and what happened; times are steps."""

    name: str
    kind: str
    seed: int
    random: bool
    step: int
    verdict: str
    t50: float
    t50_low: float
    t50_high: float
    t_test: float
    t_test_low: float
    t_test_high: float
    came50: float
    came_test: float
    fit: float


def asked(setting: Setting, record: xr.Dataset) -> list[Asked]:
    """The answers at all records between the fit and the time at which the accuracy is high."""
    steps = record["step" if "step" in record.coords else "time"].values
    accuracy = record["test_accuracy"].values
    came50 = crossing(steps, accuracy, accuracy >= 0.5, 0.5)
    events = lr.transition(record)
    came = float(np.interp(events.t_test, record["time"].values, steps))
    if math.isnan(events.t_train):
        return []
    fit = float(np.interp(events.t_train, record["time"].values, steps))
    found = []
    for i in range(len(steps)):
        if steps[i] < fit or (not math.isnan(came) and steps[i] >= came):
            continue
        now = lr.remaining(record.isel(time=slice(0, i + 1)))
        found.append(
            Asked(
                setting.name, setting.kind, setting.seed, setting.random, int(steps[i]),
                now.verdict, now.t_half, *now.t_half_interval, now.t_test, *now.t_test_interval,
                came50, came, fit,
            )
        )  # fmt: skip
    return found


def by_run(answers: list[Asked]) -> dict[str, list[Asked]]:
    runs: dict[str, list[Asked]] = {}
    for one in answers:
        runs.setdefault(one.name, []).append(one)
    return runs


def first(run: list[Asked], *, verdict: bool) -> Asked | None:
    """The first answer with a time, or with a verdict."""
    for one in run:
        if one.verdict in ("grok", "immediate") or (not verdict and not math.isnan(one.t_test)):
            return one
    return None


def errors(run_answers: list[Asked]) -> dict[str, float]:
    """Median error, coverage and how early, of the times of single answers."""
    found: dict[str, float] = {"answers": len(run_answers)}
    for name, said, came, low, high in (
        ("t50", "t50", "came50", "t50_low", "t50_high"),
        ("t_test", "t_test", "came_test", "t_test_low", "t_test_high"),
    ):
        rows = [
            (getattr(a, said), getattr(a, came), getattr(a, low), getattr(a, high), a.step)
            for a in run_answers
            if not math.isnan(getattr(a, said) + getattr(a, came)) and a.step < getattr(a, came)
        ]
        if not rows:
            continue
        t, c, lo, hi, step = np.array(rows).T
        off = np.log(t / c)
        found |= {
            f"{name} number": len(rows),
            f"{name} error": float(np.median(np.abs(off))),
            f"{name} bias": float(np.median(off)),
            f"{name} nine in ten": float(np.quantile(np.abs(off), 0.9)),
            f"{name} in interval": float(np.mean((lo <= c) & (c <= hi))),
            f"{name} lead": float(np.median(c / step)),
        }
    return found


def _norm_grows(record: xr.Dataset) -> bool:
    """Whether the norm is larger when the test accuracy is high than at the fit."""
    events = lr.transition(record)
    ends = np.interp([events.t_train, events.t_test], record["time"], record["param_norm"])
    return bool(ends[1] > ends[0])


def norm_law(records: dict[Setting, xr.Dataset]) -> dict[str, dict[str, float]]:
    r"""The norm law, $T_{test} - T_{fit} = \log(V_{fit} / V^*) / 2 \kappa \eta \lambda$.

    $\kappa$ and $V^*$ of each kind are those with the least median error on the calibrating runs.
    """
    found: dict[str, dict[str, float]] = {}
    for kind in ("mlp", "transformer"):
        rows: dict[bool, list[tuple[float, float, float, float]]] = {False: [], True: []}
        for setting, record in records.items():
            events = lr.transition(record)
            if setting.kind != kind or setting.random or math.isnan(events.t_test):
                continue
            v = float(np.interp(events.t_train, record["time"], record["param_norm"] ** 2))
            rate = 2 * setting.rate * setting.decay
            rows[is_held_out(setting)].append((events.t_train, events.t_test, v, rate))
        if len(rows[False]) < 3 or len(rows[True]) < 3:
            continue
        fit, held = (Rows(*np.array(rows[part]).T) for part in (False, True))
        law = NormLaw.fitted(fit)
        again, more = law.off(held), law.delay(held)
        delay = held.t_test - held.t_fit
        found[kind] = {
            "runs whose norm is larger at t_test": sum(
                _norm_grows(record)
                for setting, record in records.items()
                if setting.kind == kind and not setting.random
            ),
            "runs that reach the level": len(fit.v) + len(held.v),
            "kappa": law.kappa,
            "v_star": law.v_star,
            "runs": len(held.v),
            "calibrating error": law.error,
            "t_test error": float(np.median(again)),
            "t_test nine in ten": float(np.quantile(again, 0.9)),
            "MAPE of the delay": float(np.mean(np.abs(more / delay - 1))),
            "median APE of the delay": float(np.median(np.abs(more / delay - 1))),
        }
    return found


def delay_errors(answers: list[Asked]) -> dict[str, float]:
    """Errors of the delay `t_test` - fit, as the norm law is judged."""
    rows = [(a.t_test - a.fit, a.came_test - a.fit) for a in answers if a.t_test > 0 < a.came_test]
    if not rows:
        return {}
    said, came = np.array(rows).T
    off = np.abs(said / came - 1)
    return {
        "MAPE of the delay": float(off.mean()),
        "median APE of the delay": float(np.median(off)),
    }


def constants(answers: list[Asked], records: dict[str, xr.Dataset]) -> dict[str, Any]:
    """The rates with the least mean error of log t, every calibrating run of the same weight."""
    runs = [_margins(run, records[name]) for name, run in by_run(answers).items()]
    runs = [rows for rows in runs if len(rows)]
    if not runs:
        return {}

    def off(rates: Any) -> float:
        slow, fast, turn = rates
        if min(slow, fast) < 0.1:
            return math.inf

        def log_time(z: Any) -> Any:
            return np.where(z > turn, (z - turn) / fast, (z - turn) / slow)

        return float(np.mean([np.abs(log_time(to) - log_time(z) - t).mean() for z, to, t in runs]))

    given = (margin_clock.SLOW, margin_clock.FAST, margin_clock.TURN)
    best = minimize(off, given, method="Nelder-Mead")
    found = dict(zip(("slow", "fast", "turn"), best.x.tolist(), strict=True))
    return found | {"runs": len(runs), "error": best.fun, "error of the constants": off(given)}


def _margins(run: list[Asked], record: xr.Dataset) -> np.ndarray:
    """Of a run the values of z, those to come, and the logarithms of the times between."""
    steps = record["step" if "step" in record.coords else "time"].values
    z = dict(zip(steps.tolist(), record["test_margin_ratio"].values.tolist(), strict=True))
    rows = [
        (z[a.step], to, math.log(came / a.step))
        for a in run[3:]
        for to, came in ((0.0, a.came50), (NormalDist().inv_cdf(0.95), a.came_test))
        if came > a.step and z[a.step] < to
    ]
    return np.array(rows).T if rows else np.zeros(0)


def report(answers: list[Asked], records: dict[Setting, xr.Dataset]) -> dict[str, Any]:
    """All numbers, of calibrating and of held-out runs."""
    found: dict[str, Any] = {}
    by_name = {setting.name: record for setting, record in records.items()}
    for held, part in ((False, "calibrating"), (True, "held out")):
        for kind in _KINDS:
            some = [a for a in answers if a.kind == kind]
            runs = by_run([a for a in some if is_held_out(a) == held])
            real = {name: run for name, run in runs.items() if not run[0].random}
            controls = {name: run for name, run in runs.items() if run[0].random}
            if not real:
                continue
            said = [f for run in real.values() if (f := first(run, verdict=True))]
            timed = [f for run in real.values() if (f := first(run, verdict=False))]
            # A run that never gets there has no answer that could be right about when.
            never = [n for n, run in real.items() if math.isnan(run[0].came_test)]
            found[f"{part}, {kind}"] = {
                "runs": len(real),
                "runs that reach the level": len(real) - len(never),
                "runs with a verdict": len(said),
                "of these, runs that generalised": sum(
                    lr.transition(by_name[a.name]).outcome in _GENERALISED for a in said
                ),
                "of these, grok or immediate as the outcome": sum(
                    verdict_of(lr.transition(by_name[a.name])) == a.verdict for a in said
                ),
                "verdict `none` though it generalised": sum(
                    any(a.verdict == "none" for a in run) and not math.isnan(run[0].came_test)
                    for run in real.values()
                ),
                "controls": len(controls),
                "controls with a verdict": sum(
                    any(a.verdict in ("grok", "immediate") for a in run)
                    for run in controls.values()
                ),
                "at the first time": errors(timed) | delay_errors(timed),
                "at the first verdict": errors(said) | delay_errors(said),
                "at all records": errors([a for run in real.values() for a in run]),
            }
    found["norm law, held out"] = norm_law(records)
    calibrating = [a for a in answers if a.kind == "mlp" and not is_held_out(a) and not a.random]
    found["rates of the calibrating MLPs"] = constants(calibrating, by_name)
    return found


def draw(answers: list[Asked]) -> None:
    """Times said at the first verdict against times that came, of held-out runs."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.9), layout="constrained")
    marks = {"mlp": "o", "default betas": "D", "transformer": "s", "sgd": "^"}
    names = {"mlp": "MLP, AdamW, β₂ = 0.98", "default betas": "the same, β₂ = 0.999"}
    names |= {"transformer": "transformer, AdamW, β₂ = 0.98", "sgd": "MLP, SGD with momentum"}
    colours = {"mlp": "#0072b2", "default betas": "#56b4e9"}
    colours |= {"transformer": "#d55e00", "sgd": "#111111"}
    held = by_run([a for a in answers if is_held_out(a) and not a.random])
    for ax, verdict, title in (
        (axes[0], False, "first answer with a time"),
        (axes[1], True, "first verdict"),
    ):
        ends = []
        for run in held.values():
            a = first(run, verdict=verdict)
            if a is None or math.isnan(a.t_test + a.came_test):
                continue
            ends += [a.came_test, a.t_test]
            ax.errorbar(
                a.came_test, a.t_test,
                yerr=[[a.t_test - a.t_test_low], [a.t_test_high - a.t_test]],
                fmt=marks[a.kind], color=colours[a.kind], ms=4, lw=0.8, mfc="white",
            )  # fmt: skip
        line = [min(ends) / 1.3, max(ends) * 1.3]
        ax.plot(line, line, color="0.6", lw=1, zorder=0)
        ax.set(
            xscale="log", yscale="log", title=title, xlabel="observed step of test accuracy 0.95"
        )
    axes[0].set_ylabel("predicted step, with interval")
    for kind, mark in marks.items():
        axes[0].plot([], [], mark, color=colours[kind], ms=4, mfc="white", label=names[kind])
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(ROOT / "docs" / "figures" / "remaining.png", dpi=150)


def main(store: Path, only: str | None, cached: bool, with_few: bool) -> None:
    torch.set_num_threads(1)
    store.mkdir(parents=True, exist_ok=True)
    answers, records = [], {}
    for setting in few() if with_few else settings():
        if only not in (None, setting.kind):
            continue
        if cached and not (store / f"{setting.name}.nc").exists():
            continue
        record = recorded(setting, store)
        records[setting] = record
        said = asked(setting, record)
        answers += said
        if not cached:
            timed = first(said, verdict=True)
            print(setting.name, "" if timed is None else json.dumps(asdict(timed)), flush=True)
    found = report(answers, records)
    print(json.dumps(found, indent=1))
    if only is None:
        name = "torch_remaining_few.json" if with_few else "torch_remaining.json"
        if not with_few:
            draw(answers)
        text = json.dumps(found, indent=1) + "\n"
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("--only")
    parser.add_argument("--cached", action="store_true", help="only what the store holds")
    parser.add_argument("--few", action="store_true", help="trainings with few classes")
    options = parser.parse_args()
    main(options.store, options.only, options.cached, options.few)
