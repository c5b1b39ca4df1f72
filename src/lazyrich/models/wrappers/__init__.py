"""Models made from another model."""
