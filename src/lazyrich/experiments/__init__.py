"""One run, described before it begins."""

from .experiment import Experiment as Experiment
from .linearise import linearise as linearise
from .published import Published as Published, PublishedAt as PublishedAt
