"""The steps of an optimiser: how many, how far in flow time, and how far decay has acted."""

import contextlib
import math
import weakref
from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor, optim

from ..._core.errors import InputError

Rule = Literal["sgd", "adam", "adamw", "other"]

# AdamW is a kind of Adam.
_RULES: tuple[tuple[type[optim.Optimizer], Rule], ...] = (
    (optim.SGD, "sgd"),
    (optim.AdamW, "adamw"),
    (optim.Adam, "adam"),
)

# The logarithm of the smallest share of a parameter that one step of decay leaves.
_LEAST = math.log(1e-300)


class Steps:
    r"""Counts the steps of an optimiser by a hook, so that skipped steps do not count.

    - `num`, the number of steps; `time`, the sum of learning rates, for SGD over $1 - \beta$;
        `log_shrink`, by group of parameters, the logarithm of what pure decay leaves of them;
        `error`, of the last step that could not be read, such as a rate that is no number;
        `before`, what is called once, just before the next step.
    """

    def __init__(self) -> None:
        self.num, self.time = 0, 0.0
        self.optimizer: Any = None
        self.rule: Rule = "other"
        self.log_shrink: list[float] = []
        self.by_hook = False
        self.error: Exception | None = None
        self.before: Callable[[], None] | None = None
        self._group_of: dict[int, int] = {}
        self._main = 0
        self._hooks: list[Any] = []

    def attach(self, optimizer: Any) -> None:
        """Follows an optimiser.

        - **Raises** [`InputError`][lazyrich.InputError] for what has no groups of parameters.
        """
        while not isinstance(optimizer, optim.Optimizer) or hasattr(optimizer, "optimizer"):
            # Libraries wrap the optimiser, and their wrapper does not call its hooks.
            inner = getattr(optimizer, "optimizer", None)
            if inner is None:
                break
            optimizer = inner
        groups = getattr(optimizer, "param_groups", None)
        if not isinstance(groups, list) or not groups:
            accepted = "should be an optimiser of torch.optim, or have param_groups as they do"
            raise InputError("optimizer", type(optimizer).__name__, accepted)
        if any(group.get("maximize") for group in groups):
            raise InputError("optimizer.maximize", True, "should be False: the loss is minimised")
        for hook in self._hooks:  # of the optimiser before, which may be the same
            hook.remove()
        self._hooks = []
        self.optimizer, self.rule = optimizer, rule_of(optimizer)
        self.log_shrink = (self.log_shrink + [0.0] * len(groups))[: len(groups)]
        self._group_of = {id(p): i for i, group in enumerate(groups) for p in group["params"]}
        sizes = [sum(p.numel() for p in group["params"]) for group in groups]
        self._main = sizes.index(max(sizes))
        self.by_hook = hasattr(optimizer, "register_step_post_hook")
        if self.by_hook:
            me = weakref.ref(self)

            def stepped(optimizer: Any, args: Any, kwargs: Any) -> None:
                steps = me()
                # With fused optimisers, a step that mixed precision skips gets here as well.
                skipped = getattr(optimizer, "found_inf", None)
                if steps is not None and not (skipped is not None and float(skipped) > 0):
                    try:
                        steps.count()
                    except Exception as error:  # must not end the optimiser's step
                        steps.error = error

            def begins(optimizer: Any, args: Any, kwargs: Any) -> None:
                steps = me()
                if steps is not None and steps.before is not None:
                    before, steps.before = steps.before, None
                    try:
                        before()
                    except Exception as error:  # must not end the optimiser's step
                        steps.error = error

            self._hooks = [
                optimizer.register_step_post_hook(stepped),
                optimizer.register_step_pre_hook(begins),
            ]

    def count(self) -> None:
        """One more step, at the present rates."""
        self.num += 1
        groups = [] if self.optimizer is None else self.optimizer.param_groups
        for place, group in enumerate(groups):
            rate = self.rate(group)
            if place == self._main:
                self.time += rate
            if place == len(self.log_shrink):
                self.log_shrink.append(0.0)  # a group that was added later
            decay = self.decay_of_group(group)
            if decay and self.rule != "adam":
                gone = rate * decay
                self.log_shrink[place] += math.log1p(-gone) if gone < 1 else _LEAST

    def rate(self, group: Any) -> float:
        """The flow time of one step of a group."""
        rate = float(group.get("lr", 0.0))
        if self.rule == "sgd":
            damping = 1 - float(group.get("dampening", 0.0)) if group.get("momentum") else 1.0
            return rate * damping / (1 - float(group.get("momentum", 0.0)))
        return rate

    @staticmethod
    def decay_of_group(group: Any) -> float:
        """The weight decay of a group."""
        return float(group.get("weight_decay", 0.0) or 0.0)

    def group_of(self, parameter: Tensor) -> int | None:
        """The group of a parameter; None if the optimiser does not train it."""
        found = self._group_of.get(id(parameter))
        if found is None and self.optimizer is not None:
            for i, group in enumerate(self.optimizer.param_groups):
                if any(other is parameter for other in group["params"]):
                    self._group_of[id(parameter)] = found = i
        return found

    def decay(self, parameter: Tensor) -> float:
        """The weight decay of a parameter; 0 if the optimiser does not train it."""
        group = self.group_of(parameter)
        return 0.0 if group is None else self.decay_of_group(self.optimizer.param_groups[group])

    def shrink(self, parameter: Tensor) -> float:
        """The logarithm of what pure decay leaves of a parameter."""
        group = self.group_of(parameter)
        return 0.0 if group is None else self.log_shrink[group]

    @property
    def main(self) -> Any:
        """The group with the most parameters; empty without an optimiser."""
        return {} if self.optimizer is None else self.optimizer.param_groups[self._main]

    @property
    def rates(self) -> list[float]:
        """The learning rates of all groups; those that are no numbers are left out."""
        groups = [] if self.optimizer is None else self.optimizer.param_groups
        found = []
        for group in groups:
            with contextlib.suppress(TypeError, ValueError):
                found.append(float(group.get("lr", math.nan)))
        return [rate for rate in found if math.isfinite(rate)]

    @property
    def betas(self) -> list[float] | None:
        """Those of the group with the most parameters; None where it has none."""
        found = self.main.get("betas")
        return [float(beta) for beta in found] if isinstance(found, tuple | list) else None

    @property
    def weight_decay(self) -> float:
        """The weight decay of most of the parameters that decay; 0 if none do."""
        groups = [] if self.optimizer is None else self.optimizer.param_groups
        decaying = [group for group in groups if self.decay_of_group(group) > 0]
        sizes = [sum(p.numel() for p in group["params"]) for group in decaying]
        return self.decay_of_group(decaying[sizes.index(max(sizes))]) if decaying else 0.0


def rule_of(optimizer: Any) -> Rule:
    """The rule of its steps, by its class or one that it derives from."""
    known = (rule for kind, rule in _RULES if isinstance(optimizer, kind))
    found: Rule = next(known, "other")
    if found == "adam" and any(g.get("decoupled_weight_decay") for g in optimizer.param_groups):
        return "adamw"
    return found
