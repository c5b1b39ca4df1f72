"""The exact reduction of diagonal linear nets to one number a sample."""
