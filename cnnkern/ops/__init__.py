"""The operations: one frozen Spec each, with shape inference, theoretical counts and the reduction length."""

from .base import Counts, Shape, Spec
from .checks import normalise_padding
from .conv import CONV_ALGOS, Conv2dSpec, FusedBlockSpec, Im2colSpec, LocallyConnected2dSpec
from .conv_transpose import ConvTranspose2dSpec
from .eltwise import ACTIVATIONS, BINARY, UNARY, ActivationSpec, AddSpec, BinarySpec, MulSpec, UnarySpec
from .foreign import ForeignSpec
from .linear import LinearSpec
from .norm import BatchNormSpec, LocalContrastNormSpec, LocalResponseNormSpec
from .pool import AdaptiveAvgPool2dSpec, GlobalPool2dSpec, Pool2dSpec, RoiMaxPoolSpec
from .rearrange import (
    DepthToSpaceSpec,
    ExpandSpec,
    PadNdSpec,
    SpaceToDepthSpec,
    StrideSpec,
    TileSpec,
)
from .reduce import REDUCTIONS, MatMulSpec, ReduceSpec
from .resample import ResampleSpec
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
        ReorderSpec, ConvTranspose2dSpec, UnarySpec, BinarySpec, ReduceSpec, MatMulSpec, ResampleSpec,
        StrideSpec, PadNdSpec, ExpandSpec, TileSpec, DepthToSpaceSpec, SpaceToDepthSpec,
    )
}  # fmt: skip

__all__ = [
    "ACTIVATIONS", "BINARY", "CONV_ALGOS", "REDUCTIONS", "SPECS", "UNARY", "Counts", "ForeignSpec", "Shape", "Spec",
    "normalise_padding",
    *(spec.__name__ for spec in SPECS.values()),
]  # fmt: skip
