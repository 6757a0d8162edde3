"""Fast R-CNN: one pass of a convolutional network over the image, then a small dense one on each region of interest.

Paper: Girshick, "Fast R-CNN", https://arxiv.org/abs/1504.08083; the network is VGG-16 (D), whose last pool becomes RoI
max-pooling. Layer names are those of the released Caffe models.
"""

from __future__ import annotations

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # no pool behind the last
SCALE = 1 / 16  # pixels of conv5_3 per pixel of the image
CELLS = 7
# torchvision's names of VGG-16, the trunk and the first two dense layers; its third is no part of this network.
TORCHVISION = {
    f"features.{number}": f"conv{block}_{i}"
    for block, numbers in enumerate(((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)), 1)
    for i, number in enumerate(numbers, 1)
} | {"classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": None}


def build(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> list[str] | str:
    """Scores and boxes of each region: (R, num_classes), the background being class 0, and (R, 4 num_classes), four
    offsets for each class."""
    for block, layers in enumerate(BLOCKS, 1):
        if block > 1:
            x = g.max_pool(x, 2, name=f"pool{block - 1}")
        for i, channels in enumerate(layers, 1):
            x = g.relu(g.conv(x, f"conv{block}_{i}", channels, 3, padding=1), f"relu{block}_{i}")
    if not include_top:
        return x
    x = g.flatten(g.roi_max_pool(x, g.regions(), CELLS, SCALE, "roi_pool5"), name="flatten")
    for name in ("6", "7"):
        x = g.dropout(g.relu(g.linear(x, f"fc{name}", 4096), f"relu{name}"), 0.5)
    boxes = g.linear(x, "bbox_pred", 4 * num_classes)
    return [g.softmax(g.linear(x, "cls_score", num_classes), "cls_prob"), boxes]


def rename(key: str) -> str | None:
    layer, _, leaf = key.rpartition(".")
    if layer not in TORCHVISION:
        return key
    return f"{TORCHVISION[layer]}.{leaf}" if TORCHVISION[layer] else None


register(
    Architecture(
        "fast_rcnn_vgg16",
        build,
        134_690_729,
        183_281_442_816,
        input_shape=(3, 600, 1000),
        num_classes=21,
        paper="https://arxiv.org/abs/1504.08083",
        aliases=("fast_rcnn_vgg16_voc",),
        rename=rename,
    )
)
