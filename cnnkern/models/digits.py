"""LeNet-5 with trained weights: handwritten digits, right on 448 of 450 held-out scans (cnnkern/data/README.md)."""

from __future__ import annotations

from dataclasses import replace

from . import lenet  # noqa: F401  (registers the network whose weights these are)
from .registry import ARCHITECTURES, register

register(replace(ARCHITECTURES["lenet5"], name="lenet5-digits", weights="lenet5_digits.npz"))
