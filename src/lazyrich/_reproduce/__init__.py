"""Runs the panels of a study."""
