"""AlexNet, twice: the ungrouped 227x227 network of the lectures, and torchvision's single tower.

Papers: Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks",
https://papers.nips.cc/paper/4824; Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
https://arxiv.org/abs/1404.5997 (torchvision's).
"""

from __future__ import annotations

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

# alexnet_227: (channels, kernel, stride, padding, pooled); the first two pools are followed by normalisation
CONVS_227 = (
    (96, 11, 4, 0, True),
    (256, 5, 1, 2, True),
    (384, 3, 1, 1, False),
    (384, 3, 1, 1, False),
    (256, 3, 1, 1, True),
)
# alexnet: (channels, kernel, stride, padding), "M" a max pool; positions in the list name the layers
TORCHVISION = ((64, 11, 4, 2), "M", (192, 5, 1, 2), "M", (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1), "M")


def build_227(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    for i, (channels, kernel, stride, padding, pooled) in enumerate(CONVS_227, 1):
        x = g.relu(g.conv(x, f"conv{i}", channels, kernel, stride, padding), f"relu{i}")
        if pooled:
            x = g.max_pool(x, 3, 2, name=f"pool{i}")
        if pooled and i < 3:
            # the paper's alpha multiplies the plain sum of squares: it is not divided by the window's size
            x = g.lrn(x, 5, alpha=1e-4, beta=0.75, k=2.0, alpha_is_sum=True, name=f"norm{i}")
    if not include_top:
        return x
    x = g.flatten(x)
    x = g.dropout(g.relu(g.linear(x, "fc6", 4096), "relu6"))
    x = g.dropout(g.relu(g.linear(x, "fc7", 4096), "relu7"))
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
    x = g.dropout(g.flatten(g.adaptive_avg_pool(x, 6, "avgpool"), name="flatten"))
    x = g.dropout(g.relu(g.linear(x, "classifier.1", 4096), "classifier.2"))
    x = g.relu(g.linear(x, "classifier.4", 4096), "classifier.5")
    return g.linear(x, "classifier.6", num_classes)


register(
    Architecture(
        "alexnet_227",
        build_227,
        params=62_378_344,
        macs=1_135_256_096,
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
