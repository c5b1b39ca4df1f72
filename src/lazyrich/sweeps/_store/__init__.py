"""Stores: the files that hold the runs of sweeps."""

from .batch_file import ENDINGS as ENDINGS, Results as Results, from_bytes as from_bytes
from .checked import MAX_FILE as MAX_FILE, RESERVED as RESERVED
from .dataset import assemble as assemble, consolidate as consolidate, open_runs as open_runs
from .one_run import record_of as record_of
from .sealed import Damaged as Damaged
from .status import Status as Status, status as status
from .store import Store as Store
