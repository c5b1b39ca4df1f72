"""What a paper says of its figures, checked in the runs of a sweep."""

from ._base import AbstractClaim as AbstractClaim, ClaimResult as ClaimResult
from ._quantity import (
    AbstractQuantityClaim as AbstractQuantityClaim,
    AbstractTrendClaim as AbstractTrendClaim,
)
from .at_least import AtLeast as AtLeast
from .at_most import AtMost as AtMost
from .changes_sign import ChangesSign as ChangesSign
from .decreases import Decreases as Decreases
from .equals import Equals as Equals
from .increases import Increases as Increases
from .log_law import LogLaw as LogLaw
from .outcomes import Outcomes as Outcomes
from .power_law import PowerLaw as PowerLaw
from .resample import bootstrap as bootstrap
from .sample import Sample as Sample
from .share_above import ShareAbove as ShareAbove
