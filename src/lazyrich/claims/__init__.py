"""What a paper says of its figures, held against the runs of a sweep."""

from .claim import Claim as Claim
from .judged import Verdict as Verdict
from .verdict import check_claim as check_claim
