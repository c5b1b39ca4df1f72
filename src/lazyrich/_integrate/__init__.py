"""Runs a solver: step control, clocks, endings, lanes, checkpoints."""
