"""Logs of other programs: what their files hold, as the record of a run."""

from .read import Log as Log, read_log as read_log
