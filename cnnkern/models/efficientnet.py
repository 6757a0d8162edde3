"""EfficientNet: inverted residuals with squeeze-and-excitation and SiLU.

Paper: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
https://arxiv.org/abs/1905.11946; torchvision's names, symmetric padding, epsilon 1e-5.
"""

from __future__ import annotations

from ..graph.builder import GraphBuilder
from .layers import conv_norm_act
from .registry import Architecture, register, renamed_layers

# B0: (expansion, kernel, stride of the first, channels, blocks), table 1 of the paper
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def build(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = conv_norm_act(g, x, "features.0", 32, 3, 2, act="silu")
    for stage, (expansion, kernel, stride, channels, blocks) in enumerate(STAGES, 1):
        for block in range(blocks):
            with g.scope(f"features.{stage}.{block}"):
                x = mbconv(g, x, expansion, kernel, 1 if block else stride, channels)
    x = conv_norm_act(g, x, f"features.{len(STAGES) + 1}", 1280, 1, act="silu")
    if not include_top:
        return x
    x = g.dropout(g.flatten(g.global_avg_pool(x, "avgpool"), name="flatten"))
    return g.linear(x, "classifier.1", num_classes)


def mbconv(g: GraphBuilder, x: str, expansion: int, kernel: int, stride: int, channels: int) -> str:
    """Expand, depthwise, squeeze-and-excite, project; plus the input where the shape allows."""
    c, y, index = g.channels(x), x, 0
    hidden = expansion * c
    with g.scope("block"):
        if expansion != 1:
            y, index = conv_norm_act(g, y, "0", hidden, 1, act="silu"), 1
        y = conv_norm_act(g, y, f"{index}", hidden, kernel, stride, groups=hidden, act="silu")
        y = squeeze_excite(g, y, f"{index + 1}", c // 4)
        y = conv_norm_act(g, y, f"{index + 2}", channels, 1, act=None)
    return g.add(y, x, "add") if stride == 1 and c == channels else y


def squeeze_excite(g: GraphBuilder, x: str, name: str, squeeze: int) -> str:
    """x times a gate per channel: sigmoid(fc2(silu(fc1(mean of x)))), https://arxiv.org/abs/1709.01507."""
    with g.scope(name):
        gate = g.global_avg_pool(x, "avgpool")
        gate = g.activation(g.conv(gate, "fc1", squeeze, 1), "silu", "activation")
        gate = g.activation(g.conv(gate, "fc2", g.channels(x), 1), "sigmoid", "scale_activation")
        return g.mul(x, gate, "mul")


def timm_layers() -> dict[str, str]:
    """timm's layer names -> torchvision's."""
    table = {"conv_stem": "features.0.0", "bn1": "features.0.1", "classifier": "classifier.1"}
    table |= {"conv_head": f"features.{len(STAGES) + 1}.0", "bn2": f"features.{len(STAGES) + 1}.1"}
    plain = (("conv_dw", "0.0"), ("bn1", "0.1"), ("se.conv_reduce", "1.fc1"), ("se.conv_expand", "1.fc2"))
    plain += (("conv_pw", "2.0"), ("bn2", "2.1"))
    expanded = (("conv_pw", "0.0"), ("bn1", "0.1"), ("conv_dw", "1.0"), ("bn2", "1.1"))
    expanded += (("se.conv_reduce", "2.fc1"), ("se.conv_expand", "2.fc2"), ("conv_pwl", "3.0"), ("bn3", "3.1"))
    for stage, (expansion, _, _, _, blocks) in enumerate(STAGES):
        for block in range(blocks):
            for timm, ours in plain if expansion == 1 else expanded:
                table[f"blocks.{stage}.{block}.{timm}"] = f"features.{stage + 1}.{block}.block.{ours}"
    return table


register(
    Architecture(
        "efficientnet_b0",
        build,
        params=5_288_548,
        macs=385_814_752,
        bn_buffers=42_016,
        paper="https://arxiv.org/abs/1905.11946",
        reference="tv:efficientnet_b0",
        rename=renamed_layers(timm_layers()),
    )
)
