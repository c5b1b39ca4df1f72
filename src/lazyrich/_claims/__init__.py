"""What a paper says of its figures, held against the runs of a sweep."""

from .claim import Claim as Claim
from .verdict import Verdict as Verdict, check_claim as check_claim
