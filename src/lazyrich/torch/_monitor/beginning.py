"""Whether a record begins, or goes on, where its training does."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

# So many values of each parameter are kept in a state. In another draw those of weights differ;
# gains of 1 and biases of 0 do not.
_VALUES = 16
# The largest relative difference of equal values: a checkpoint may hold parameters in bfloat16.
_EQUAL = 0.02
# The share of other values from which it is another net.
_OTHER = 0.01


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
    states = [
        one for one in (getattr(optimizer, "state", None) or {}).values() if isinstance(one, dict)
    ]
    counts = [float(one["step"]) for one in states if "step" in one]
    if any(one.get("momentum_buffer") is not None for one in states) and not counts:
        return None
    return int(max(counts, default=0))


def faults(
    optimizer: Any, num: int, now: Tensor, saved: Tensor | None, is_resumed: bool
) -> Iterator[str]:
    """What does not fit together just before the first step, in words.

    - **Takes** `num`, the steps of the record until now; `now`, the sketch of the parameters;
        `saved`, that of the state that was loaded, if it has one.
    """
    made = steps_made(optimizer)
    if not is_resumed:
        if made != 0:
            before = "steps" if made is None else f"{made:,} step{'s' if made > 1 else ''}"
            yield (
                f"the optimiser made {before} before the monitor was built: step 0 of the record "
                "is in the middle of the training; build the monitor first, or load its state_dict"
            )
        return
    if saved is not None and not _is_equal(now, saved):
        yield (
            "the parameters are not those with which the state was saved: load the checkpoint of "
            "the net before the first step"
        )
    elif made is not None and made < 0.9 * num - 1 and _has_moments(optimizer):
        yield (
            f"the optimiser counts {made:,} steps and the record {num:,}: load the state_dict of "
            "the optimiser, too"
        )


def _is_equal(now: Tensor, saved: Tensor) -> bool:
    if now.shape != saved.shape:
        return False
    equal = torch.isclose(now, saved, rtol=_EQUAL, atol=0.0, equal_nan=True)
    return float((~equal).double().mean()) < _OTHER


def _has_moments(optimizer: Any) -> bool:
    """Whether an optimiser has moments that a resumed training lacks when they are not loaded."""
    defaults = getattr(optimizer, "defaults", {})
    return "betas" in defaults or bool(defaults.get("momentum"))
