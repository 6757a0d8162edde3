"""AlexNet: the 227x227 network of 2012 with and without its groups and some of its layers, and torchvision's tower.

Papers: Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks",
https://papers.nips.cc/paper/4824; Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
https://arxiv.org/abs/1404.5997 (torchvision's).
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

# alexnet_227: (channels, kernel, stride, padding, on one GPU's half of the channels alone, pooled); the first two pools
# are followed by normalisation
CONVS_227 = (
    (96, 11, 4, 0, False, True),
    (256, 5, 1, 2, True, True),
    (384, 3, 1, 1, False, False),
    (384, 3, 1, 1, True, False),
    (256, 3, 1, 1, True, True),
)
# name: (groups, layers left out, parameters, MACs); what follows a gap takes what is there
TABLE_227 = {
    "alexnet_227": (1, (), 62_378_344, 1_135_256_096),
    "alexnet_227_minus_7": (1, (7,), 45_597_032, 1_118_478_880),
    "alexnet_227_minus_67": (1, (6, 7), 12_964_200, 1_085_850_144),
    "alexnet_227_minus_34": (1, (3, 4), 59_870_824, 711_615_008),
    "alexnet_227_minus_3467": (1, (3, 4, 6, 7), 10_456_680, 662_209_056),
    "alexnet_227_grouped": (2, (), 60_965_224, 724_406_816),
    "alexnet_227_grouped_minus_7": (2, (7,), 44_183_912, 707_629_600),
    "alexnet_227_grouped_minus_67": (2, (6, 7), 11_551_080, 675_000_864),
    "alexnet_227_grouped_minus_34": (2, (3, 4), 59_268_712, 437_826_080),
    "alexnet_227_grouped_minus_3467": (2, (3, 4, 6, 7), 9_854_568, 388_420_128),
}
# alexnet: (channels, kernel, stride, padding), "M" a max pool; positions in the list name the layers
TORCHVISION = ((64, 11, 4, 2), "M", (192, 5, 1, 2), "M", (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1), "M")


def build_227(
    groups: int, without: tuple[int, ...], g: GraphBuilder, x: str, num_classes: int, include_top: bool
) -> str:
    for i, (channels, kernel, stride, padding, halved, pooled) in enumerate(CONVS_227, 1):
        if i in without:
            continue
        split = groups if halved else 1
        x = g.relu(g.conv(x, f"conv{i}", channels, kernel, stride, padding, groups=split), f"relu{i}")
        if pooled:
            x = g.max_pool(x, 3, 2, name=f"pool{i}")
        if pooled and i < 3:
            # the paper's alpha multiplies the plain sum of squares: it is not divided by the window's size
            x = g.lrn(x, 5, alpha=1e-4, beta=0.75, k=2.0, alpha_is_sum=True, name=f"norm{i}")
    if not include_top:
        return x
    x = g.flatten(x)
    for i in (6, 7):
        if i not in without:
            x = g.dropout(g.relu(g.linear(x, f"fc{i}", 4096), f"relu{i}"), 0.5)
    return g.softmax(g.linear(x, "fc8", num_classes), "prob")


def build(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    index = 0
    for row in TORCHVISION:
        if row == "M":
            x = g.max_pool(x, 3, 2, name=f"features.{index}")
            index += 1
        else:
            x = g.relu(g.conv(x, f"features.{index}", *row), f"features.{index + 1}")
            index += 2
    if not include_top:
        return x
    x = g.dropout(g.flatten(g.adaptive_avg_pool(x, 6, "avgpool"), name="flatten"), 0.5)
    x = g.dropout(g.relu(g.linear(x, "classifier.1", 4096), "classifier.2"), 0.5)
    x = g.relu(g.linear(x, "classifier.4", 4096), "classifier.5")
    return g.linear(x, "classifier.6", num_classes)


for name, (groups, without, params, macs) in TABLE_227.items():
    register(
        Architecture(
            name,
            partial(build_227, groups, without),
            params,
            macs,
            input_shape=(3, 227, 227),
            paper="https://papers.nips.cc/paper/4824",
        )
    )
register(
    Architecture(
        "alexnet",
        build,
        params=61_100_840,
        macs=714_188_480,
        paper="https://arxiv.org/abs/1404.5997",
        reference="tv:alexnet",
    )
)
