"""Driving a solver: step control, clocks, endings, lanes, checkpoints."""
