"""The cost of a solve."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Part:
    """The work of one of several methods in a solve, from the time `since` on."""

    name: str
    since: float
    num_steps: int
    num_rejected: int
    num_gradients: int
    num_jacobians: int
    num_products: int


@dataclasses.dataclass(frozen=True)
class Effort:
    """The cost of a solve, and the reason for its method.

    - `num_gradients`: evaluations of the right-hand side on all data. `num_products`: products of
        a Jacobian and a vector. `num_jacobians`: Jacobians or kernels that were formed and
        factored. `num_jittered`: factorisations that needed a larger diagonal.
    - `reason`: why this method was chosen; empty if the user named it.
    - `methods`: the work of each method, if the method was changed during the solve.
    - `counted`: whether the solver counts its gradients. If not, only the steps are known.
    """

    name: str
    num_steps: int
    num_rejected: int
    num_gradients: int
    num_jacobians: int
    num_products: int = 0
    num_jittered: int = 0
    reason: str = ""
    methods: tuple[Part, ...] = ()
    counted: bool = True

    def table(self) -> dict[str, Any]:
        """The fields as plain values, None if unknown; `methods` only if there are several."""
        table = dataclasses.asdict(self) | {"methods": [*map(dataclasses.asdict, self.methods)]}
        if not self.methods:
            del table["methods"]
        if not table.pop("counted"):
            table |= dict.fromkeys(_COUNTS)
        return table


_COUNTS = ("num_gradients", "num_jacobians", "num_products", "num_jittered")
