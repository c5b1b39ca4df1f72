"""Times, scores and outcome of a run."""

from .arrival import ARRIVED as ARRIVED
from .change import Change as Change, outcome_of as outcome_of
from .crossing import change_times as change_times
from .events import Transition as Transition, time_names as time_names
from .scales import (
    scales_of_numbers as scales_of_numbers,
    scales_of_record as scales_of_record,
    variables_of_numbers as variables_of_numbers,
)
from .scores import (
    Scales as Scales,
    ScoredBy as ScoredBy,
    ceiling_of as ceiling_of,
    chance_of as chance_of,
    curves_of_record as curves_of_record,
    score_of as score_of,
    score_of_loss as score_of_loss,
    scored_by as scored_by,
)
from .thresholds import (
    Thresholds as Thresholds,
    check_thresholds as check_thresholds,
    thresholds_of as thresholds_of,
)
from .transition import read_off as read_off, transition as transition
from .words import (
    CHANGED as CHANGED,
    CODES as CODES,
    FITTED as FITTED,
    FORMER as FORMER,
    LATER as LATER,
    MEANINGS as MEANINGS,
    OUTCOMES as OUTCOMES,
    REPEAT as REPEAT,
    Outcome as Outcome,
    State as State,
    advice_on as advice_on,
    advice_on_ending as advice_on_ending,
    is_broken as is_broken,
    state_of as state_of,
)
