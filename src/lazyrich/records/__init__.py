"""What a run recorded, and what happened in it."""

from .file import open_record as open_record, save_record as save_record
from .reclassify import reclassify as reclassify
from .summary import summarise as summarise, textbook_time as textbook_time
from .transition import (
    Thresholds as Thresholds,
    Transition as Transition,
    transition as transition,
)
