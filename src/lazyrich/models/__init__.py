"""What learns."""

from ._base import (
    AbstractLinearModel as AbstractLinearModel,
    AbstractModel as AbstractModel,
    measured_homogeneity as measured_homogeneity,
    output_scale_of as output_scale_of,
)
from .closed import (
    Closed as Closed,
    closed as closed,
    closes as closes,
    condensed as condensed,
    is_closed as is_closed,
    statistics_of as statistics_of,
)
from .committee_machine import (
    CommitteeMachine as CommitteeMachine,
    CommitteeParams as CommitteeParams,
)
from .committee_statistics import (
    CommitteeStatistics as CommitteeStatistics,
    Statistics as Statistics,
)
from .condensed_committee import Condensed as Condensed, CondensedCommittee as CondensedCommittee
from .diagonal_linear import (
    DiagonalLinear as DiagonalLinear,
    DiagonalParams as DiagonalParams,
    power_difference as power_difference,
)
from .matrix_factorisation import (
    FactorParams as FactorParams,
    MatrixFactorisation as MatrixFactorisation,
)
from .mlp import MLP as MLP, MLPParams as MLPParams
from .own import FromEquinox as FromEquinox, Functions as Functions
from .transformer import Transformer as Transformer, TransformerParams as TransformerParams
from .wrappers.centred import Centred as Centred
from .wrappers.doubled import Doubled as Doubled, DoubledParams as DoubledParams
from .wrappers.linearised import Expansion as Expansion, Linearised as Linearised
