"""Results of many runs: phase diagrams, boundaries, scaling laws."""

from .boundary import boundary as boundary
from .diagram import phase_diagram as phase_diagram
from .refine import Refined as Refined, refine as refine
from .refinement import Bisection as Bisection, Crossings as Crossings
from .scaling import (
    Collapse as Collapse,
    ScalingFit as ScalingFit,
    collapse as collapse,
    scaling_fit as scaling_fit,
)
