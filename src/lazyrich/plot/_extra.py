"""The extra that figures need, asked for before anything of this package is imported."""

from .._core.errors import require

require("matplotlib", "view", "lazyrich.plot")
