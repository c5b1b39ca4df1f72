"""What a person looks at. Needs the extra `view`."""

from .figure import plot as plot
from .report import write_report as write_report
