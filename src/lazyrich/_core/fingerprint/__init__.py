"""SHA-256 of what a value of the user would compute.

Covers functions, classes, instances and arrays, by their content and not by their names.
"""

from .libraries import is_own as is_own, name_of as name_of
from .members import is_own_data as is_own_data
from .reader import fingerprint as fingerprint
