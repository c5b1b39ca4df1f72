"""Figures of a panel, as its file names them."""

from ._base import AbstractFigure as AbstractFigure, Drawing as Drawing
from ._chosen import check_figure as check_figure, drawings as drawings, figure_of as figure_of
from .family import Family as Family
from .forecasts import Forecasts as Forecasts
from .map import Map as Map
from .rates import Rates as Rates
from .run import Run as Run
from .scores import Scores as Scores
