"""EfficientNet: inverted residuals with squeeze-and-excitation and SiLU, scaled in width, depth and resolution at once.

Paper: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
https://arxiv.org/abs/1905.11946. efficientnet_* are torchvision's: symmetric padding, epsilon 1e-5 to B4 and 1e-3 from
B5 on. timm's differ from B5 on, with 1e-5 (timm_efficientnet_*); its tf_efficientnet_*, whose weights come from the
authors, pad as TensorFlow does and have 1e-3 throughout. keras_efficientnet_* are those under Keras's names, ending in
a softmax; the normalisation that Keras puts into the network is left to whoever prepares the picture.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial

from ..graph.builder import GraphBuilder
from .mobilenet import divisible
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
# (width, depth, resolution, parameters, running statistics, MACs)
TABLE = {
    "b0": (1.0, 1.0, 224, 5_288_548, 42_016, 385_814_752),
    "b1": (1.0, 1.1, 240, 7_794_184, 62_048, 686_802_832),
    "b2": (1.1, 1.2, 260, 9_109_994, 67_568, 993_561_872),
    "b3": (1.2, 1.4, 300, 12_233_232, 87_296, 1_827_141_392),
    "b4": (1.4, 1.8, 380, 19_341_616, 125_200, 4_393_771_024),
    "b5": (1.6, 2.2, 456, 30_389_784, 172_736, 10_266_384_752),
    "b6": (1.8, 2.6, 528, 43_040_704, 224_432, 19_067_593_536),
    "b7": (2.0, 3.1, 600, 66_347_960, 310_720, 37_745_884_192),
}
DROPPED = {row[:2]: share for row, share in zip(TABLE.values(), (0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5))}
LARGE = ("b5", "b6", "b7")  # where torchvision's epsilon is 1e-3

# --- what the libraries call the parts: of the network, of a block, of a block that does not expand

TORCHVISION = {"stem": "features.0.0", "stem_bn": "features.0.1", "head": "features.8.0", "head_bn": "features.8.1"}
TORCHVISION |= {"classifier": "classifier.1"}
TORCHVISION_BLOCK = {"expand": "block.0.0", "expand_bn": "block.0.1", "dw": "block.1.0", "dw_bn": "block.1.1"}
TORCHVISION_BLOCK |= {"reduce": "block.2.fc1", "excite": "block.2.fc2"}
TORCHVISION_BLOCK |= {"project": "block.3.0", "project_bn": "block.3.1"}
TORCHVISION_FIRST = {"dw": "block.0.0", "dw_bn": "block.0.1", "reduce": "block.1.fc1", "excite": "block.1.fc2"}
TORCHVISION_FIRST |= {"project": "block.2.0", "project_bn": "block.2.1"}
TIMM = {"stem": "conv_stem", "stem_bn": "bn1", "head": "conv_head", "head_bn": "bn2", "classifier": "classifier"}
TIMM_BLOCK = {"expand": "conv_pw", "expand_bn": "bn1", "dw": "conv_dw", "dw_bn": "bn2", "reduce": "se.conv_reduce"}
TIMM_BLOCK |= {"excite": "se.conv_expand", "project": "conv_pwl", "project_bn": "bn3"}
TIMM_FIRST = TIMM_BLOCK | {"dw_bn": "bn1", "project": "conv_pw", "project_bn": "bn2"}


KERAS = {
    "stem": "stem_conv",
    "stem_bn": "stem_bn",
    "head": "top_conv",
    "head_bn": "top_bn",
    "classifier": "predictions",
}
KERAS_BLOCK = {"expand": "expand_conv", "expand_bn": "expand_bn", "dw": "dwconv", "dw_bn": "bn", "reduce": "se_reduce"}
KERAS_BLOCK |= {"excite": "se_expand", "project": "project_conv", "project_bn": "project_bn"}
Parts = tuple[str, dict[str, str]]  # what stands before the names of a block's parts, and those


def torchvision_block(stage: int, block: int, expanded: bool) -> Parts:
    return f"features.{stage}.{block}.", TORCHVISION_BLOCK if expanded else TORCHVISION_FIRST


def timm_block(stage: int, block: int, expanded: bool) -> Parts:
    return f"blocks.{stage - 1}.{block}.", TIMM_BLOCK if expanded else TIMM_FIRST


def keras_block(stage: int, block: int, expanded: bool) -> Parts:
    return f"block{stage}{'abcdefghijklmnopqrstuvwxyz'[block]}_", KERAS_BLOCK


STYLES = {"torchvision": (TORCHVISION, torchvision_block), "timm": (TIMM, timm_block), "keras": (KERAS, keras_block)}


def build(net: tuple, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    """`net`: width and depth, whose names, whether padded as TensorFlow does, epsilon."""
    width, depth, style, same, eps = net
    names, block_names = STYLES[style]
    x = conv(g, x, names, "stem", divisible(32 * width), 3, 2, same=same, eps=eps)
    for stage, (expansion, kernel, stride, channels, blocks) in enumerate(STAGES, 1):
        for block in range(math.ceil(blocks * depth)):
            prefix, parts = block_names(stage, block, expansion != 1)
            with g.scope(prefix, ""):
                step = 1 if block else stride
                x = mbconv(g, x, parts, expansion, kernel, step, divisible(channels * width), same, eps)
    x = conv(g, x, names, "head", divisible(1280 * width), 1, same=same, eps=eps)
    if not include_top:
        return x
    x = g.dropout(g.flatten(g.global_avg_pool(x, "avgpool"), name="flatten"), DROPPED[width, depth])
    x = g.linear(x, names["classifier"], num_classes)
    return g.softmax(x, "softmax") if style == "keras" else x


def conv(
    g: GraphBuilder,
    x: str,
    names: dict[str, str],
    part: str,
    channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    same: bool = False,
    eps: float = 1e-5,
    act: bool = True,
) -> str:
    """Convolution, batch norm, and SiLU unless `act` is False."""
    padding = "same" if same else kernel // 2
    x = g.conv(x, names[part], channels, kernel, stride, padding, groups=groups, bias=False)
    x = g.batch_norm(x, names[f"{part}_bn"], eps)
    return g.activation(x, "silu", f"{names[f'{part}_bn']}.act") if act else x


def mbconv(g, x: str, names: dict, expansion: int, kernel: int, stride: int, channels: int, same: bool, eps) -> str:
    """Expand, depthwise, squeeze-and-excite, project; plus the input where the shape allows."""
    c, y = g.channels(x), x
    hidden = expansion * c
    if expansion != 1:
        y = conv(g, y, names, "expand", hidden, 1, eps=eps)
    y = conv(g, y, names, "dw", hidden, kernel, stride, hidden, same, eps)
    y = squeeze_excite(g, y, names, c // 4)
    y = conv(g, y, names, "project", channels, 1, eps=eps, act=False)
    return g.add(y, x, "add") if stride == 1 and c == channels else y


def squeeze_excite(g: GraphBuilder, x: str, names: dict[str, str], squeeze: int) -> str:
    """x times a gate per channel: sigmoid(fc2(silu(fc1(mean of x)))), https://arxiv.org/abs/1709.01507."""
    within = names["reduce"].rpartition(".")[0]
    with g.scope(within) if within else nullcontext():
        gate = g.global_avg_pool(x, "avgpool")
    gate = g.activation(g.conv(gate, names["reduce"], squeeze, 1), "silu", f"{names['reduce']}.act")
    gate = g.activation(g.conv(gate, names["excite"], g.channels(x), 1), "sigmoid", f"{names['excite']}.gate")
    with g.scope(within) if within else nullcontext():
        return g.mul(x, gate, "mul")


def timm_layers(depth: float) -> dict[str, str]:
    """timm's layer names -> torchvision's."""
    table = {TIMM[part]: TORCHVISION[part] for part in TIMM}
    for stage, (expansion, *_, blocks) in enumerate(STAGES, 1):
        for block in range(math.ceil(blocks * depth)):
            theirs, their_parts = timm_block(stage, block, expansion != 1)
            ours, our_parts = torchvision_block(stage, block, expansion != 1)
            table |= {theirs + their_parts[part]: ours + name for part, name in our_parts.items()}
    return table


def add(name: str, size: str, style: str, same: bool, eps: float, reference: str, rename=None) -> None:
    width, depth, pixels, params, bn_buffers, macs = TABLE[size]
    register(
        Architecture(
            name,
            partial(build, (width, depth, style, same, eps)),
            params,
            macs,
            bn_buffers,
            input_shape=(3, pixels, pixels),
            paper="https://arxiv.org/abs/1905.11946",
            reference=reference,
            rename=rename,
        )
    )


for size, (_, depth, *_) in TABLE.items():
    name = f"efficientnet_{size}"
    if size in LARGE:
        add(name, size, "torchvision", False, 1e-3, f"tv:{name}")
        add(f"timm_{name}", size, "timm", False, 1e-5, f"timm:{name}")
    else:
        add(name, size, "torchvision", False, 1e-5, f"tv:{name}", renamed_layers(timm_layers(depth)))
    add(f"tf_{name}", size, "timm", True, 1e-3, f"timm:tf_{name}")
    add(f"keras_{name}", size, "keras", True, 1e-3, f"keras:EfficientNet{size.upper()}")
