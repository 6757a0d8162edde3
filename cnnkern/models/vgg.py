"""VGG: stacks of 3x3 convolutions between 2x2 max pools, then three dense layers.

Paper: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
https://arxiv.org/abs/1409.1556; the configurations of its table 1 (A, A-LRN, B, C, D, E are vgg11, vgg11_lrn, vgg13,
vgg16_c, vgg16, vgg19), the shallow relative of B with 5x5 for each pair of 3x3 (its section 2.3), and torchvision's
batch-normalised ones.
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register, renamed_layers

# Channels of the convolutions in order, 3x3 unless the kernel stands before the colon; M a max pool, L normalisation.
A = "64 M 128 M 256 256 M 512 512 M 512 512 M"
A_LRN = "64 L M 128 M 256 256 M 512 512 M 512 512 M"
B = "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M"
B_SHALLOW = "5:64 M 5:128 M 5:256 M 5:512 M 5:512 M"
C = "64 64 M 128 128 M 256 256 1:256 M 512 512 1:512 M 512 512 1:512 M"
D = "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M"
E = "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M"
# name: (layers, running statistics: 0 without batch norm, parameters, MACs)
TABLE = {
    "vgg11": (A, 0, 132_863_336, 7_609_090_048),
    "vgg13": (B, 0, 133_047_848, 11_308_466_176),
    "vgg16": (D, 0, 138_357_544, 15_470_264_320),
    "vgg19": (E, 0, 143_667_240, 19_632_062_464),
    "vgg11_bn": (A, 5_504, 132_868_840, 7_609_090_048),
    "vgg13_bn": (B, 5_888, 133_053_736, 11_308_466_176),
    "vgg16_bn": (D, 8_448, 138_365_992, 15_470_264_320),
    "vgg19_bn": (E, 11_008, 143_678_248, 19_632_062_464),
    "vgg11_lrn": (A_LRN, 0, 132_863_336, 7_609_090_048),
    "vgg16_c": (C, 0, 133_638_952, 11_770_888_192),
    "vgg_b_shallow5x5": (B_SHALLOW, 0, 134_503_528, 9_356_017_664),
}
PAPERS_OWN = ("vgg11_lrn", "vgg16_c", "vgg_b_shallow5x5")  # no library has them
TIMM_LAYERS = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}


def build(layers: str, normalised: bool, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = features(g, x, layers, normalised)
    if not include_top:
        return x
    x = g.flatten(g.adaptive_avg_pool(x, 7, "avgpool"), name="flatten")
    x = g.dropout(g.relu(g.linear(x, "classifier.0", 4096), "classifier.1"), 0.5)
    x = g.dropout(g.relu(g.linear(x, "classifier.3", 4096), "classifier.4"), 0.5)
    return g.linear(x, "classifier.6", num_classes)


def features(g: GraphBuilder, x: str, layers: str, normalised: bool = False) -> str:
    index = 0  # torchvision numbers the layers of `features` in order, the ReLUs and pools included

    def name() -> str:
        nonlocal index
        index += 1
        return f"features.{index - 1}"

    for layer in layers.split():
        if layer == "M":
            x = g.max_pool(x, 2, name=name())
        elif layer == "L":  # with AlexNet's constants: alpha is not divided by the window's size
            x = g.lrn(x, 5, alpha=1e-4, beta=0.75, k=2.0, alpha_is_sum=True, name=name())
        else:
            kernel, channels = map(int, layer.rpartition(":")[::2]) if ":" in layer else (3, int(layer))
            x = g.conv(x, name(), channels, kernel, padding=kernel // 2)
            if normalised:
                x = g.batch_norm(x, name())
            x = g.relu(x, name())
    return x


for name, (layers, bn_buffers, params, macs) in TABLE.items():
    register(
        Architecture(
            name,
            partial(build, layers, bn_buffers > 0),
            params,
            macs,
            bn_buffers,
            paper="https://arxiv.org/abs/1409.1556",
            reference="paper" if name in PAPERS_OWN else f"tv:{name}",
            rename=renamed_layers(TIMM_LAYERS),
        )
    )
