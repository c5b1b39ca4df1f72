"""Draws descriptions of figures with matplotlib."""

from .draw import check_width as check_width, draw as draw
from .paper import PaperFigure as PaperFigure, Width as Width
