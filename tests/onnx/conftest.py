"""Tests of the ONNX door share modules that lie here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # hostile.py, lightmodels.py and the like
