"""Records of runs, and what happened in a run: times, scores and outcome."""

from .file import open_record as open_record, save_record as save_record
from .logged import record as record
from .logs import Log as Log, read_log as read_log
from .parameters import KeptParameters as KeptParameters
from .reclassify import reclassify as reclassify
from .schema import (
    ATTRIBUTES as ATTRIBUTES,
    VARIABLES as VARIABLES,
    Attribute as Attribute,
    Variable as Variable,
)
from .summary import summarise as summarise, textbook_time as textbook_time
from .transition import (
    Thresholds as Thresholds,
    Transition as Transition,
    transition as transition,
)
