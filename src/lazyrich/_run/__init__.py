"""Computes records from experiments."""
