"""Models: the functions whose parameters are trained."""

from ._base import (
    AbstractModel as AbstractModel,
    Factors as Factors,
    Posed as Posed,
    Readout as Readout,
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
from .from_flax import FromFlax as FromFlax
from .from_flax_nnx import FromFlaxNNX as FromFlaxNNX
from .from_haiku import FromHaiku as FromHaiku
from .from_torch import FromTorch as FromTorch
from .linear import AbstractLinearModel as AbstractLinearModel
from .matrix_factorisation import (
    FactorParams as FactorParams,
    MatrixFactorisation as MatrixFactorisation,
)
from .measured import (
    has_invariant_block as has_invariant_block,
    measured_homogeneity as measured_homogeneity,
    measured_invariance as measured_invariance,
)
from .mlp import MLP as MLP, MLPParams as MLPParams
from .normalisation import Normalisation as Normalisation, normalised as normalised
from .own import FromEquinox as FromEquinox, Functions as Functions
from .theory import Theory as Theory
from .transformer import Transformer as Transformer, TransformerParams as TransformerParams
from .wrappers._base import (
    AbstractExpanded as AbstractExpanded,
    AbstractWrapper as AbstractWrapper,
    Expansion as Expansion,
)
from .wrappers.centred import Centred as Centred
from .wrappers.doubled import Doubled as Doubled, DoubledParams as DoubledParams
from .wrappers.linearised import Linearised as Linearised
