"""Callbacks for trainers, which have the names of their hooks. No trainer is imported."""

import contextlib
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

_FILE = "lazyrich_monitor.pt"


@runtime_checkable
class Follower(Protocol):
    """What a callback needs of a monitor."""

    def attach(self, optimizer: Any) -> None:
        """Follows an optimiser."""

    def step(self) -> None:
        """Measures if a record is due."""

    def finish(self) -> None:
        """The last record."""

    def state_dict(self) -> dict[str, Any]:
        """The state."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""


class HuggingFaceCallback:
    """Calls a monitor from the `Trainer` of Hugging Face.

    The state of the monitor is written into each checkpoint, and read when the trainer resumes.

    - **Takes** `finish`, whether the end of the training ends the record.
    """

    def __init__(self, monitor: Follower, finish: bool = True):
        self.monitor, self._finish = monitor, finish

    def __getattr__(self, name: str) -> Any:
        # The trainer calls every hook that it has.
        if name.startswith("on_"):
            return _nothing
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Follows the optimiser of the trainer, and goes on from a checkpoint if it resumes."""
        if kwargs.get("optimizer") is not None:
            self.monitor.attach(kwargs["optimizer"])
        resumed = getattr(args, "resume_from_checkpoint", None)
        folders = [resumed] if isinstance(resumed, str) else []
        if getattr(state, "global_step", 0) > 0:
            folders.append(_folder(args, state))
        for folder in folders:
            path = Path(folder) / _FILE
            if path.is_file():
                self.monitor.load_state_dict(torch.load(path, weights_only=True))
                return

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step of the optimiser is done."""
        self.monitor.step()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Writes the state beside the checkpoint of the trainer."""
        folder = Path(_folder(args, state))
        if getattr(state, "is_world_process_zero", True) and folder.is_dir():
            with contextlib.suppress(OSError):  # a full disk ends the trainer's own writing
                torch.save(self.monitor.state_dict(), folder / _FILE)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ends the record."""
        if self._finish:
            self.monitor.finish()


class LightningCallback:
    """Calls a monitor from the `Trainer` of Lightning, whose checkpoints hold its state.

    - **Takes** `finish`, whether the end of the training ends the record.
    """

    state_key = "lazyrich.torch.Monitor"
    _legacy_state_key = state_key  # the trainer reads both

    def __init__(self, monitor: Follower, finish: bool = True):
        self.monitor, self._finish = monitor, finish
        self._attached = False

    def __getattr__(self, name: str) -> Any:
        # The trainer calls every hook that it has.
        if name.startswith(("on_", "setup", "teardown")):
            return _nothing
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Follows the first optimiser of the trainer."""
        if not self._attached and trainer.optimizers:
            self.monitor.attach(trainer.optimizers[0])
            self._attached = True

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any, **kwargs: Any) -> None:
        """A batch is done. Without a step of the optimiser the monitor does nothing."""
        self.monitor.step()

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Ends the record."""
        if self._finish:
            self.monitor.finish()

    def state_dict(self) -> dict[str, Any]:
        """The state of the monitor, for the checkpoint."""
        return self.monitor.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.monitor.load_state_dict(state)


def _folder(args: Any, state: Any) -> str:
    return str(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def _nothing(*args: Any, **kwargs: Any) -> None:
    """A hook without an effect."""
