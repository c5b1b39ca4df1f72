"""Whether a record begins, or goes on, where its training does."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, optim

from .steps import rule_of

# So many values of each parameter are kept in a state. In another draw those of weights differ;
# gains of 1 and biases of 0 do not.
_VALUES = 16
# The largest relative difference of equal values: a checkpoint may hold parameters in bfloat16.
_EQUAL = 0.02
# The share of other values from which it is another net.
_OTHER = 0.01
# Float16 rounds by half its smallest number, also values below this.
_ROUNDED = 2.0**-25
# Initialisers write a parameter a few times: those of PyTorch at most five, a checkpoint once.
_WRITTEN = 20


def sketch(parameters: Mapping[str, Tensor]) -> Tensor:
    """Some values of each parameter, by which a net is known again, `(k,)`."""
    kept = []
    for value in parameters.values():
        flat = value.detach().reshape(-1)
        kept.append(flat[:: max(1, len(flat) // _VALUES)][:_VALUES].double().cpu())
    return torch.cat(kept)


def steps_made(optimizer: Any) -> int | None:
    """The number of steps that an optimiser counts itself; 0 if it keeps no state.

    None if it made some and counts none.
    """
    states = {
        of: one
        for of, one in (getattr(optimizer, "state", None) or {}).items()
        if isinstance(one, dict)
    }
    counts = [float(one["step"]) for one in states.values() if "step" in one]
    if not counts and any(_is_of_steps(of, v) for of, one in states.items() for v in one.values()):
        return None
    return int(max(counts, default=0))


def _is_of_steps(parameter: Any, value: Any) -> bool:
    """Whether only steps make such a value. Zeros and copies may be there from the beginning."""
    if not isinstance(value, Tensor) or not bool((value != 0).any()):
        return False
    is_alike = isinstance(parameter, Tensor) and parameter.shape == value.shape
    return not (is_alike and torch.equal(value.to(parameter), parameter))


def times_written(parameters: Iterable[Tensor]) -> int:
    """How often every one of the parameters was written in place: once or more in each step."""
    return min(p._version for p in parameters)


class Beginning:
    """How a record begins or goes on, and what of it does not fit to the training."""

    def __init__(self, parameters: Mapping[str, Tensor]):
        self._parameters = parameters
        self._written = times_written(parameters.values())
        self._saved: dict[str, Any] | None = None

    def state(self, optimizer: Any) -> dict[str, Any]:
        """What a state of the monitor has of net and optimiser."""
        return {
            "sketch": sketch(self._parameters),
            "optimizer": None if optimizer is None else _of_optimizer(optimizer),
        }

    def load(self, state: dict[str, Any]) -> None:
        """The record goes on from a state. Those of earlier versions lack both."""
        self._saved = {name: state.get(name) for name in ("sketch", "optimizer")}

    def faults(self, optimizer: Any, num: int) -> Iterator[str]:
        """What does not fit together just before the next step, in words.

        - **Takes** `num`, the steps of the record until now.
        """
        if self._saved is not None:
            return self._of_resumed(optimizer, num, self._saved)
        return self._of_new(optimizer)

    def _of_new(self, optimizer: Any) -> Iterator[str]:
        made = steps_made(optimizer)
        if made != 0:
            yield (
                f"the optimiser made {_some(made)} before the monitor was built: step 0 of the "
                "record is in the middle of the training; build the monitor first, or load its "
                "state_dict"
            )
        elif self._written > _WRITTEN and _keeps_no_state(optimizer):
            yield (
                f"the parameters were written {self._written:,} times before the monitor was "
                "built: if a training did this, step 0 of the record is in its middle"
            )

    def _of_resumed(self, optimizer: Any, num: int, saved: dict[str, Any]) -> Iterator[str]:
        now, then, had = sketch(self._parameters), saved["sketch"], saved["optimizer"]
        if then is not None and not _is_equal(now, then):
            yield (
                "the parameters are not those with which the state was saved: load the checkpoint "
                "of the net before the first step"
            )
        elif had is not None and optimizer is not None:
            has = _of_optimizer(optimizer)
            if not _are_akin(had.get("kinds", [had["kind"]]), has["kinds"]):
                yield _exchanged(had["kind"], has["kind"], num)
            elif _is_behind(has["made"], had["made"]):
                yield (
                    f"the optimiser made {_some(has['made'])}, and {_some(had['made'])} when the "
                    "state was saved: load its state_dict, too, unless it is a new one"
                )


def exchanged(before: Any, after: Any, num: int) -> Iterator[str]:
    """Words for an optimiser of another kind after `num` steps."""
    if not _are_akin(_kinds(before), _kinds(after)):
        yield _exchanged(type(before).__name__, type(after).__name__, num)


def _exchanged(before: str, after: str, num: int) -> str:
    return (
        f"the optimiser is {after} after step {num:,} and was {before} until then: times and decay "
        "of the record add up over both, and what a diagnosis says of the optimiser is of the last"
    )


def _of_optimizer(optimizer: Any) -> dict[str, Any]:
    """The names of an optimiser and its steps, by which it is known again."""
    kinds = _kinds(optimizer)
    return {"kind": kinds[0], "kinds": kinds, "made": steps_made(optimizer)}


def _kinds(optimizer: Any) -> list[str]:
    """The names of its class and of those that it derives from, up to the first of PyTorch.

    AdamW of PyTorch derives from Adam, and is no Adam.
    """
    found = [type(optimizer).__name__]
    for before, kind in itertools.pairwise(type(optimizer).__mro__):
        if before.__module__.startswith("torch.optim") or kind in (optim.Optimizer, object):
            break
        found.append(kind.__name__)
    return found


def _are_akin(first: list[str], second: list[str]) -> bool:
    """Whether one of two optimisers is of the class of the other, or derives from it."""
    return first[0] in second or second[0] in first


def _keeps_no_state(optimizer: Any) -> bool:
    """Whether it is SGD without momentum, the only one of PyTorch that keeps none."""
    return rule_of(optimizer) == "sgd" and not any(
        group.get("momentum") for group in optimizer.param_groups
    )


def _is_behind(made: int | None, before: int | None) -> bool:
    """Whether an optimiser lacks steps that it had. Some steps may be missing."""
    if made is None or before is None:
        return made == 0
    return made < 0.9 * before - 1 or (made == 0 and before > 0)


def _some(made: int | None) -> str:
    return "steps" if made is None else f"{made:,} step{'' if made == 1 else 's'}"


def _is_equal(now: Tensor, saved: Tensor) -> bool:
    if now.shape != saved.shape:
        return False
    equal = torch.isclose(now, saved.cpu(), rtol=_EQUAL, atol=_ROUNDED, equal_nan=True)
    return float((~equal).double().mean()) < _OTHER
