"""cnnkern: fast, counted and checked kernels for convolutional networks."""

__version__ = "0.1.0"
