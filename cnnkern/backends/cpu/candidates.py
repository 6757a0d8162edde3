"""A convolution as a problem of its own: what a kept choice is found by, and the plans worth measuring for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...graph.problem import format_problem
from ...ops import Conv2dSpec
from ...ops.base import Shape

_KEYS = {
    "direct": ("algo", "ob", "px", "merge", "band_rows", "band_images", "scratch_px", "planar", "shared"),
    "im2col": ("algo", "ob", "px"),
    "pointwise": ("algo", "ob", "px", "merge"),
    "depthwise": ("algo", "px", "band_rows"),
    "grouped": ("algo", "px", "band_rows"),
    "winograd": ("algo", "m", "ob", "px", "tile_block", "shared", "scratch_px"),
}


def shown(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The decisions of a native plan that matter for its algorithm."""
    return {key: plan[key] for key in _KEYS[plan["algo"]]}


@dataclass(frozen=True)
class Problem:
    """A convolution of a plan, without its epilogue, which costs every candidate the same.

    Attributes: `spec` and the NCHW and KCRS shapes; `threads` that run it together (1 where each core has its own
    image); `planes`: the input comes as the caller's NCHW; `scaled`: it is scaled and shifted on its way.
    """

    spec: Conv2dSpec
    x: Shape
    weight: Shape
    precision: str
    threads: int
    planes: bool = False
    scaled: bool = False

    @classmethod
    def of(
        cls, shape: Mapping[str, int], algo: str, precision: str, threads: int, planes: bool, scaled: bool
    ) -> Problem:
        """From the native side's description."""
        s = shape
        spec = Conv2dSpec(
            stride=(s["stride_h"], s["stride_w"]),
            padding=((s["pad_t"], s["pad_b"]), (s["pad_l"], s["pad_r"])),
            dilation=(s["dil_h"], s["dil_w"]),
            groups=s["groups"],
            algo=algo,
        )
        weight = (s["k"], s["c"] // s["groups"], s["r"], s["s"])
        return cls(spec, (s["n"], s["c"], s["h"], s["w"]), weight, precision, threads, planes, scaled)

    @property
    def text(self) -> str:
        """As verbose lines show it: it pastes back."""
        return format_problem(self.spec, (self.x, self.weight))

    @property
    def key(self) -> str:
        """What a kept choice is found by."""
        return f"{self.text} {self.precision} threads={self.threads}{self.how}"

    @property
    def how(self) -> str:
        """What the input is beyond its shape, in words."""
        return " planes" * self.planes + " scaled" * self.scaled
