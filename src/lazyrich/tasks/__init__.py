"""Data sets: inputs and labels, drawn from a key or read from files."""

from ._base import (
    AbstractTask as AbstractTask,
    Blocks as Blocks,
    Meaning as Meaning,
    Samples as Samples,
    Sizes as Sizes,
    Split as Split,
)
from .arrays import Arrays as Arrays
from .images import Images as Images
from .kernel_eigenvector import KernelEigenvector as KernelEigenvector
from .matrix_completion import MatrixCompletion as MatrixCompletion
from .modular_arithmetic import ModularArithmetic as ModularArithmetic
from .polynomial_regression import PolynomialRegression as PolynomialRegression
from .separated_classification import SeparatedClassification as SeparatedClassification
from .sparse_classification import SparseClassification as SparseClassification
from .sparse_regression import SparseRegression as SparseRegression
from .split_arrays import SplitArrays as SplitArrays
from .student_teacher import StudentTeacher as StudentTeacher
