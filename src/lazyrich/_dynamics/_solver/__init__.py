"""New solvers for diffrax."""

from .rodas5p import Linearisation as Linearisation, Rodas5P as Rodas5P
