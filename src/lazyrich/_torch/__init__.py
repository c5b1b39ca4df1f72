"""A PyTorch module as a pure function, for models and for `lazyrich.torch`."""
