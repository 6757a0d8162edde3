"""The operations: one frozen Spec each, with shape inference, theoretical counts and the reduction length."""

from .base import Counts, Shape, Spec
from .checks import normalise_padding
from .conv import CONV_ALGOS, Conv2dSpec, FusedBlockSpec, Im2colSpec, LocallyConnected2dSpec
from .eltwise import ACTIVATIONS, ActivationSpec, AddSpec, MulSpec
from .linear import LinearSpec
from .norm import BatchNormSpec, LocalContrastNormSpec, LocalResponseNormSpec
from .pool import AdaptiveAvgPool2dSpec, GlobalPool2dSpec, Pool2dSpec, RoiMaxPoolSpec
from .shape import (
    ChannelShuffleSpec,
    ConcatSpec,
    FlattenSpec,
    PadSpec,
    ReorderSpec,
    ReshapeSpec,
    SliceSpec,
    TransposeSpec,
)
from .softmax import SoftmaxSpec

SPECS: dict[str, type[Spec]] = {
    spec.op: spec
    for spec in (
        Conv2dSpec, FusedBlockSpec, LocallyConnected2dSpec, Im2colSpec, LinearSpec,
        Pool2dSpec, GlobalPool2dSpec, AdaptiveAvgPool2dSpec, RoiMaxPoolSpec,
        BatchNormSpec, LocalResponseNormSpec, LocalContrastNormSpec,
        ActivationSpec, AddSpec, MulSpec, SoftmaxSpec,
        ConcatSpec, ChannelShuffleSpec, PadSpec, FlattenSpec, SliceSpec, ReshapeSpec, TransposeSpec,
        ReorderSpec,
    )
}  # fmt: skip

__all__ = [
    "ACTIVATIONS", "CONV_ALGOS", "SPECS", "Counts", "Shape", "Spec", "normalise_padding",
    *(spec.__name__ for spec in SPECS.values()),
]  # fmt: skip
