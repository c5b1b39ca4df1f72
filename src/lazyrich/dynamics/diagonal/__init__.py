"""The exact reduction of diagonal linear nets to one variable for each sample."""
