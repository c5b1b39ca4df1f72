"""Descriptions of single runs."""

from .experiment import Experiment as Experiment
from .linearise import linearise as linearise
from .published import Published as Published, PublishedAt as PublishedAt
