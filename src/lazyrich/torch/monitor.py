"""The monitor of a training loop of PyTorch."""

import dataclasses
import itertools
import math
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

from .._core.errors import InputError, one_line
from .._core.given import check_function
from .._torch.undisturbed import undisturbed, unwrapped
from ..records import Thresholds
from ._forecast.answer import TorchForecast
from ._forecast.forecast import forecast
from ._forecast.monitored import described
from ._monitor.beginning import Beginning, exchanged
from ._monitor.measures import MEASURES, fit
from ._monitor.objective import Objective
from ._monitor.prepare import Counts, about, blocks_of, check_state, prepared
from ._monitor.rows import Rows, make_record
from ._monitor.samples import same_randomness
from ._monitor.schedule import LogSteps
from ._monitor.steps import Steps
from ._monitor.view import View
from .callbacks import HuggingFaceCallback, LightningCallback
from .diagnosis import Diagnosis, diagnose

_VERSION = 1


class Monitor:
    r"""Follows the training of a PyTorch module, and changes nothing in it.

    Call `step()` after every step of the optimiser. At steps in equal ratios, beginning with 0, the
    monitor measures losses, accuracies, norms, the tangent kernel and more on fixed samples, in
    `eval` mode. `record` is a record like that of a run of lazyrich.

    - **Takes** `net`, the module that is trained, also compiled or distributed; `train` and `test`:
        pairs `(inputs, labels)`, dicts with `labels`, a `Dataset` or a `DataLoader`; `optimizer`,
        which [`hugging_face`][lazyrich.torch.Monitor.hugging_face] and
        [`lightning`][lazyrich.torch.Monitor.lightning] find by themselves; `loss`:
        `cross_entropy`, `logistic`, `squared`, a loss of PyTorch with the reduction `mean`, or a
        function of outputs and labels.
    - `num_samples`, the number of training and of test samples for losses and accuracies;
        `num_gradient`, `num_kernel`, how many of these training samples gradient and kernel are
        of; `num_outputs`, of how many outputs the kernels are added: of all if the net has no
        more, otherwise of random combinations.
    - `select`, a choice among the outputs of the net, such as `lambda f: f[:, -1]`; `residues`,
        $p$ for Fourier spectra over residues, by default the number of classes.
    - `records_per_decade`, how many records are made for a factor of 10 in steps; `seed`, of the
        choice of samples and combinations; `name` and `thresholds`, for the record.
    - **Raises** [`InputError`][lazyrich.InputError] when it is built, for what it cannot use. Later
        errors are noted in the record, with one warning, and the training goes on.
    """

    def __init__(
        self,
        net: nn.Module,
        train: Any,
        test: Any,
        *,
        loss: Any,
        optimizer: Any = None,
        num_samples: int = 512,
        num_gradient: int = 64,
        num_kernel: int = 32,
        num_outputs: int = 1,
        records_per_decade: int = 20,
        select: Callable[[Any], Tensor] | None = None,
        residues: int | None = None,
        seed: int = 0,
        name: str = "torch",
        thresholds: Thresholds | None = None,
    ):
        if not isinstance(net, nn.Module):
            raise InputError("net", type(net).__name__, "should be a torch.nn.Module")
        counts = Counts(num_samples, num_gradient, num_kernel, num_outputs)
        self._schedule = LogSteps(records_per_decade)
        self._rows, self._steps = Rows(), Steps()
        self._ending, self._notes = "running", list[str]()
        self._name, self._thresholds, self._seed = str(name), thresholds, seed
        self._calls, self._next = 0, 0.0
        self._steps.before = self._begins
        self.is_recording = _is_first_process()
        if optimizer is not None:
            self._steps.attach(optimizer)
        if not self.is_recording:
            return
        check_function("select", select, "outputs")
        self._given = (unwrapped(net), train, test, loss, select)
        objective = Objective(loss)
        with same_randomness():
            self._setting = prepared(
                net, (train, test), objective, self._steps, counts,
                select=select, residues=residues, seed=seed,
            )  # fmt: skip
            self._first()
        self._versions = self._version()
        self._beginning = Beginning(self._setting.parameters)
        if self._setting.random:
            self._note("the net draws random numbers in eval mode: each measure is of another draw")

    def _version(self) -> int:
        """How often parameters were written."""
        return sum(p._version for p in self._setting.parameters.values())

    def _is_moved(self) -> bool:
        """Whether something wrote parameters since the monitor was built."""
        return self._version() != self._versions

    def _first(self) -> None:
        """The record of step 0. A measure that fails here is left out, with a note."""
        self._measures = dict(MEASURES)
        self._measure()
        if not self._rows.steps:
            raise InputError("net", "losses", "should be finite at the initial parameters")

    def _begins(self) -> None:
        """Notes, just before the first step, what does not fit to the beginning of the record."""
        if self.is_recording:
            for fault in self._beginning.faults(self._steps.optimizer, self._steps.num):
                self._note(fault)

    def attach(self, optimizer: Any) -> None:
        """Follows an optimiser that did not exist when the monitor was built.

        Step 0 is recorded again, because its decay is known only now.

        - **Raises** [`InputError`][lazyrich.InputError] for what has no groups of parameters.
        """
        steps, before = self._steps, self._steps.optimizer
        steps.attach(optimizer)
        if self.is_recording and steps.before is None and before is not None:
            for note in exchanged(before, steps.optimizer, steps.num):
                self._note(note)
        if self.is_recording and steps.num == 0:
            self._rows = Rows()
            with same_randomness():
                self._first()

    def step(self) -> None:
        """To be called after every step of the optimiser. Measures if a record is due.

        Calls without a step of the optimiser, as within accumulated gradients or after a step that
        mixed precision skipped, do nothing.
        """
        try:
            self._count()
            if self._steps.error is not None:
                self._failed("optimiser", self._steps.error)
                self._steps.error = None
            if self.is_recording and self._steps.num >= self._next:
                with same_randomness():
                    self._measure()
        except Exception as error:  # the training is worth more than its monitor
            self._failed("step", error)

    def finish(self) -> None:
        """A last record at the present step, if it has none; the record says `completed`."""
        if not self.is_recording or self._ending != "running":
            return
        try:
            if self._calls == 0 and self._is_moved():
                self._note("step() was never called: call it after every step of the optimiser")
            if self._steps.num > self._rows.steps[-1]:
                with same_randomness():
                    self._measure()
            if self._ending == "running":
                self._ending, self._next = "completed", math.inf
        except Exception as error:
            self._failed("finish", error)

    def _count(self) -> None:
        """Counts calls, where the optimiser has no hooks."""
        self._calls += 1
        if not self._steps.by_hook:
            self._steps.count()
        elif self._calls == 1 and self.is_recording and self._steps.num == 0 and self._is_moved():
            # Something else changed the parameters: another object is the optimiser.
            self._steps.by_hook = False
            self._note("the optimiser calls no hooks: every call of step() counts as a step")
            self._steps.count()

    def _measure(self) -> None:
        view = View(self._setting)
        steps = self._steps
        self._next = self._schedule.after(steps.num)  # also if this fails
        row = fit(view)
        row |= {"flow_time": steps.time, "learning_rate": float(steps.main.get("lr", math.nan))}
        if not all(math.isfinite(row[name]) for name in ("train_loss", "test_loss")):
            if self._rows.steps:
                self._ending, self._next = "diverged", math.inf
                self._note(f"losses are not finite at step {steps.num}: the record ends before")
            return
        for name, measure in list(self._measures.items()):
            try:
                row |= measure(view)
            except Exception as error:
                self._failed(name, error)
                if not self._rows.steps:
                    del self._measures[name]
        self._rows.add(steps.num, row)

    def _failed(self, what: str, error: Exception) -> None:
        text = one_line(error, 200)
        self._note(f"{what}: {type(error).__name__} at step {self._steps.num} ({text})", what)

    def _note(self, text: str, what: str = "") -> None:
        """Notes something in the record, once for each measure, and warns."""
        if what and any(note.startswith(f"{what}: ") for note in self._notes):
            return
        self._notes.append(text)
        try:
            warnings.warn(f"lazyrich.torch.Monitor: {text}", RuntimeWarning, stacklevel=4)
        except RuntimeWarning:  # a script may make errors of warnings
            print(f"lazyrich.torch.Monitor: {text}", file=sys.stderr)

    @property
    def record(self) -> xr.Dataset:
        """The record until now; its ending is `running` until `finish` is called.

        Times are flow times, the sum of learning rates, for SGD, and steps for other optimisers.
        Of a rest in which a learning rate of 0 lets nothing move, flow times have the last step.

        - **Raises** [`InputError`][lazyrich.InputError] in a process that does not record.
        """
        if not self.is_recording:
            raise InputError("rank", "not 0", "only the process of rank 0 has the record")
        setting, moving = self._setting, self._rows.in_motion()
        times = [row["flow_time"] for row in moving.values]
        grows = self._steps.rule == "sgd" and all(b > a for a, b in itertools.pairwise(times))
        return make_record(
            moving if grows else self._rows,
            blocks_of(setting),
            in_flow_time=grows,
            name=self._name,
            weight_decay=self._steps.weight_decay,
            scales=setting.scales,
            ending=self._ending,
            thresholds=self._thresholds,
            about=about(setting, self._seed, self._notes),
        )

    def diagnosis(self) -> Diagnosis:
        """What the record says of the training until now, its evidence, and what to try next."""
        return diagnose(self.record)

    def forecast(self, **options: Any) -> TorchForecast:
        """The forecast of the training that goes on from the present parameters.

        This is [`lazyrich.torch.forecast`][lazyrich.torch.forecast] in `eval` mode, with the data,
        the loss and the optimiser of the monitor. Its steps count from now, the step `start` of the
        training. The training does not change.

        - **Takes** the other options of that function, such as `steps`, `subset` and `passage`.
        - With Adam or AdamW the answer is `cannot_say`, for every loss, and nothing is computed,
            except with `passage="pilot"`, which trains copies of the net from its present state and
            in its present mode.
        - **Raises** [`InputError`][lazyrich.InputError] as that function, which knows fewer losses
            than the monitor; and in a process that does not record.
        """
        if not self.is_recording:
            raise InputError("rank", "not 0", "only the process of rank 0 has the data")
        net, *given, select = self._given
        options = {"name": self._name, "seed": self._seed, **options}
        optimizer = self._steps.optimizer
        if options.get("passage") == "pilot":
            train, test, loss = given
            found = forecast(
                net, train, test, loss=loss, optimizer=optimizer, select=select, **options
            )
        else:
            train, test, loss, options = described(self._setting, (*given,), options)
            with same_randomness(), undisturbed(net):
                found = forecast(
                    net, train, test, loss=loss, optimizer=optimizer, select=select, **options
                )
        return dataclasses.replace(found, start=self._steps.num)

    def state_dict(self) -> dict[str, Any]:
        """The state, of tensors, numbers and texts, to be saved in the training's checkpoint."""
        if not self.is_recording:
            return {"version": _VERSION}
        setting, steps = self._setting, self._steps
        return {
            "version": _VERSION,
            "rows": self._rows.state(),
            "num_steps": steps.num,
            "flow_time": steps.time,
            "log_shrink": list(steps.log_shrink),
            "start": {name: p.clone() for name, p in setting.start.items()},
            "kernel_start": torch.as_tensor(setting.kernel_start)
            if setting.kernel_start is not None else None,
            "ending": self._ending,
            "notes": list(self._notes),
            "seed": self._seed,
            "labels": setting.kernel.y.clone(),
            **self._beginning.state(steps.optimizer),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state, on the same data and with the same settings.

        - **Raises** [`InputError`][lazyrich.InputError] for a state of another net, of other data
            or of another seed.
        """
        if not self.is_recording:
            return
        setting = self._setting
        check_state(state, setting, self._seed, _VERSION)
        self._rows.load(state["rows"])
        self._steps.num, self._steps.time = int(state["num_steps"]), float(state["flow_time"])
        self._steps.log_shrink = [float(value) for value in state["log_shrink"]]
        for name, p in setting.start.items():
            p.copy_(state["start"][name])
        kernel = state["kernel_start"]
        setting.kernel_start = None if kernel is None else kernel.cpu().numpy().copy()
        self._ending, self._notes = str(state["ending"]), list(state["notes"])
        if self._ending == "completed":
            self._ending = "running"  # the training goes on
        running = self._ending == "running" and self._rows.steps
        self._next = self._schedule.after(self._rows.steps[-1]) if running else math.inf
        self._calls = 1
        self._beginning.load(state)
        self._steps.before = self._begins

    def hugging_face(self, finish: bool = True) -> HuggingFaceCallback:
        """A callback for the `Trainer` of Hugging Face: `trainer.add_callback(...)`."""
        return HuggingFaceCallback(self, finish)

    def lightning(self, finish: bool = True) -> LightningCallback:
        """A callback for the `Trainer` of Lightning: `Trainer(callbacks=[...])`."""
        return LightningCallback(self, finish)


def _is_first_process() -> bool:
    """Whether this process is the only one of a distributed training, or that of rank 0."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return True
    return distributed.get_rank() == 0
