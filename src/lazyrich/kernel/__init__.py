"""The tangent kernel, computed in parts if it does not fit in memory."""

from .blocks import class_kernel as class_kernel, kernel_block as kernel_block
from .distance import kernel_distance as kernel_distance
from .products import kernel_product as kernel_product, tangent_outputs as tangent_outputs
from .rows import row_gram as row_gram
