"""The parts of the monitor."""
