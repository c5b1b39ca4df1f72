"""What is shown of a run, of many, and of a study."""

from .family import plot_family as plot_family
from .figure import plot as plot
from .forecasts import plot_forecasts as plot_forecasts
from .laws import plot_collapse as plot_collapse, plot_scaling as plot_scaling
from .maps import plot_map as plot_map
from .rates import plot_rates as plot_rates
from .report import write_report as write_report
from .scores import plot_scores as plot_scores
from .study import write_study as write_study
