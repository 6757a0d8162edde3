"""ResNet and ResNeXt.

Papers: He et al., "Deep Residual Learning for Image Recognition", https://arxiv.org/abs/1512.03385;
Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", https://arxiv.org/abs/1611.05431.
The bottleneck is the "v1.5" form of torchvision and timm: the stride is on the 3x3 convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register


@dataclass(frozen=True)
class ResNet:
    """`blocks` per stage; the bottleneck's inner width is base_width/64 of the stage's, times `groups`."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool
    groups: int = 1
    base_width: int = 64


# name              network                                             parameters   running stats           MACs
TABLE = {
    "resnet18": (ResNet((2, 2, 2, 2), bottleneck=False), 11_689_512, 9_600, 1_814_073_344),
    "resnet34": (ResNet((3, 4, 6, 3), bottleneck=False), 21_797_672, 17_024, 3_663_761_408),
    "resnet50": (ResNet((3, 4, 6, 3), bottleneck=True), 25_557_032, 53_120, 4_089_184_256),
    "resnet101": (ResNet((3, 4, 23, 3), bottleneck=True), 44_549_160, 105_344, 7_801_405_440),
    "resnet152": (ResNet((3, 8, 36, 3), bottleneck=True), 60_192_808, 151_424, 11_513_626_624),
    "resnext50_32x4d": (ResNet((3, 4, 6, 3), True, groups=32, base_width=4), 25_028_904, 68_224, 4_230_479_872),
}


def build(net: ResNet, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = g.conv(x, "conv1", 64, 7, stride=2, padding=3, bias=False)
    x = g.relu(g.batch_norm(x, "bn1"), "relu")
    x = g.max_pool(x, 3, 2, 1, name="maxpool")
    for stage, blocks in enumerate(net.blocks, 1):
        for block in range(blocks):
            with g.scope(f"layer{stage}.{block}"):
                x = residual_block(g, x, net, width=32 << stage, stride=2 if stage > 1 and block == 0 else 1)
    if not include_top:
        return x
    x = g.flatten(g.global_avg_pool(x, "avgpool"), name="flatten")
    return g.linear(x, "fc", num_classes)


def residual_block(g: GraphBuilder, x: str, net: ResNet, width: int, stride: int) -> str:
    """relu(branch(x) + shortcut(x)); the shortcut is a 1x1 projection where the shape changes, else x itself."""
    channels = 4 * width if net.bottleneck else width
    if net.bottleneck:
        inner = width * net.base_width // 64 * net.groups
        y = g.conv(x, "conv1", inner, 1, bias=False)
        y = g.relu(g.batch_norm(y, "bn1"), "relu1")
        y = g.conv(y, "conv2", inner, 3, stride, padding=1, groups=net.groups, bias=False)
        y = g.relu(g.batch_norm(y, "bn2"), "relu2")
        y = g.batch_norm(g.conv(y, "conv3", channels, 1, bias=False), "bn3")
    else:
        y = g.conv(x, "conv1", width, 3, stride, padding=1, bias=False)
        y = g.relu(g.batch_norm(y, "bn1"), "relu1")
        y = g.batch_norm(g.conv(y, "conv2", width, 3, padding=1, bias=False), "bn2")
    if stride != 1 or g.channels(x) != channels:
        x = g.conv(x, "downsample.0", channels, 1, stride, bias=False)
        x = g.batch_norm(x, "downsample.1")
    return g.relu(g.add(y, x, "add"), "relu")


for name, (net, params, bn_buffers, macs) in TABLE.items():
    paper = "https://arxiv.org/abs/1611.05431" if net.groups > 1 else "https://arxiv.org/abs/1512.03385"
    register(Architecture(name, partial(build, net), params, macs, bn_buffers, paper=paper, reference=f"tv:{name}"))
