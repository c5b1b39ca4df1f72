"""Models made of another model."""
