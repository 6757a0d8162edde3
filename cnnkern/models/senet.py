"""SENets: residual networks whose branches are scaled, channel by channel, by what their average says.

Paper: Hu et al., "Squeeze-and-Excitation Networks", https://arxiv.org/abs/1709.01507. timm's names; the stride is on
the 3x3 convolution, but in `seresnet50_v1`, the authors' own (timm's legacy_seresnet50), on the first 1x1, and there
the pooling of the stem has no padding and takes a last partial window.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register
from .resnet import ResNet, build

REDUCTION = 16
PAPER = "https://arxiv.org/abs/1709.01507"


def squeeze_excite(g: GraphBuilder, x: str) -> str:
    """x times sigmoid(fc2(relu(fc1(mean of x)))), a gate per channel; never fewer than eight channels between."""
    squeezed = max(8, (g.channels(x) // REDUCTION + 4) // 8 * 8)  # the nearest multiple of eight, as timm has it
    with g.scope("se"):
        gate = g.global_avg_pool(x, "avgpool")
        gate = g.relu(g.conv(gate, "fc1", squeezed, 1), "act")
        gate = g.activation(g.conv(gate, "fc2", g.channels(x), 1), "sigmoid", "gate")
        return g.mul(x, gate, "mul")


def deep_stem(g: GraphBuilder, x: str) -> str:
    """Three 3x3 convolutions in place of one 7x7."""
    for index, (channels, stride) in enumerate(((64, 2), (64, 1), (128, 1))):
        x = g.conv(x, f"conv1.{3 * index}", channels, 3, stride, padding=1, bias=False)
        norm, act = (f"conv1.{3 * index + 1}", f"conv1.{3 * index + 2}") if index < 2 else ("bn1", "relu")
        x = g.relu(g.batch_norm(x, norm), act)
    return g.max_pool(x, 3, 2, 1, name="maxpool")


def legacy_stem(g: GraphBuilder, x: str) -> str:
    x = g.conv(x, "conv1", 64, 7, stride=2, padding=3, bias=False)
    x = g.relu(g.batch_norm(x, "bn1"), "relu")
    return g.max_pool(x, 3, 2, name="maxpool", ceil_mode=True)


def legacy_name(key: str) -> str:
    """timm's key of legacy_seresnet50 -> ours."""
    return key.removeprefix("layer0.").replace(".se_module.", ".se.").replace("last_linear.", "fc.")


SE18 = ResNet((2, 2, 2, 2), bottleneck=False, gate=squeeze_excite)
SE50 = ResNet((3, 4, 6, 3), bottleneck=True, gate=squeeze_excite)
SE101, SE152 = replace(SE50, blocks=(3, 4, 23, 3)), replace(SE50, blocks=(3, 8, 36, 3))
SENET = replace(SE152, groups=64, base_width=4, stem=deep_stem, reduce_first=2, down_kernel=3)

# name                network                                            parameters  running stats      MACs
TABLE = {
    "seresnet18": (SE18, 11_779_624, 9_600, 1_814_161_408),
    "seresnet34": (replace(SE18, blocks=(3, 4, 6, 3)), 21_960_416, 17_024, 3_663_920_128),
    "seresnet50": (SE50, 28_088_024, 53_120, 4_091_699_200),
    "seresnet101": (SE101, 49_326_872, 105_344, 7_806_148_608),
    "seresnet152": (SE152, 66_821_848, 151_424, 11_520_204_800),
    "seresnext50_32x4d": (replace(SE50, groups=32, base_width=4), 27_559_896, 68_224, 4_232_994_816),
    "seresnext101_32x4d": (replace(SE101, groups=32, base_width=4), 48_955_416, 137_856, 7_974_739_968),
    "senet154": (SENET, 115_088_984, 247_552, 20_688_363_520),
}

for name, (net, params, bn_buffers, macs) in TABLE.items():
    register(Architecture(name, partial(build, net), params, macs, bn_buffers, paper=PAPER, reference=f"timm:{name}"))

register(
    Architecture(
        "seresnet50_v1",
        partial(build, replace(SE50, first_strides=True, stem=legacy_stem)),
        params=28_088_024,
        macs=3_860_488_192,
        bn_buffers=53_120,
        paper=PAPER,
        reference="timm:legacy_seresnet50",
        aliases=("legacy_seresnet50",),
        rename=legacy_name,
    )
)
