"""NASNet-A: two cells found by search, one that keeps the size of the map and one that halves it.

Paper: Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition",
https://arxiv.org/abs/1707.07012; timm's names, epsilon 1e-3. nasnet_large is timm's nasnetalarge, nasnet_mobile is
Keras's NASNetMobile, whose strided pools see zeros around the map; keras_nasnet_* are Keras's with the softmax. State
dicts with Keras's names of layers load into those that are Keras's.
"""

from __future__ import annotations

import re
from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

EPS = 1e-3
# (stem channels, channels of the last map, cells between reductions, whether the cell after a reduction looks back past
# its input), pixels, parameters, running statistics, MACs
LARGE = (96, 4032, 6, True), 331, 88_753_150, 196_668, 23_783_414_658
MOBILE = (32, 1056, 4, False), 224, 5_289_978, 36_738, 563_638_816


def build(net: tuple, zeros: bool, softmax: bool, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    """`zeros`: strided pools over a map with zeros around it."""
    stem, last, cells, skip = net
    channels = last // 24
    x = g.conv(x, "conv0.conv", stem, 3, 2, bias=False)
    x = previous = g.batch_norm(x, "conv0.bn", EPS)
    x = reduction_cell(g, x, x, "cell_stem_0", channels // 4, zeros)
    previous, x = x, reduction_cell(g, x, previous, "cell_stem_1", channels // 2, zeros)
    index = 0
    for reduction in range(3):
        if reduction:
            before = x
            x = reduction_cell(g, x, previous, f"reduction_cell_{reduction - 1}", channels, zeros)
            previous = previous if skip else before
        for _ in range(cells):
            previous, x = x, normal_cell(g, x, previous, f"cell_{index}", channels)
            index += 1
        channels *= 2
    x = g.relu(x, "act")
    if not include_top:
        return x
    x = g.dropout(g.flatten(g.global_avg_pool(x, "global_pool"), name="flatten"), 0.5)
    x = g.linear(x, "last_linear", num_classes)
    return g.softmax(x, "softmax") if softmax else x


def normal_cell(g: GraphBuilder, x: str, previous: str, name: str, channels: int) -> str:
    with g.scope(name):
        p = adjusted(g, previous, x, channels)
        h = projected(g, x, "conv_1x1", channels)
        rp, rh = g.relu(p, "act_prev"), g.relu(h, "act_right")
        combined = (
            (separable(g, rh, "comb_iter_0_left", channels, 5), separable(g, rp, "comb_iter_0_right", channels, 3)),
            (separable(g, rp, "comb_iter_1_left", channels, 5), separable(g, rp, "comb_iter_1_right", channels, 3)),
            (average(g, h, "comb_iter_2_left"), p),
            (average(g, p, "comb_iter_3_left"), average(g, p, "comb_iter_3_right")),
            (separable(g, rh, "comb_iter_4_left", channels, 3), h),
        )
        return g.concat((p, *(g.add(a, b, f"comb_iter_{i}") for i, (a, b) in enumerate(combined))), "concat")


def reduction_cell(g: GraphBuilder, x: str, previous: str, name: str, channels: int, zeros: bool) -> str:
    with g.scope(name):
        p = adjusted(g, previous, x, channels)
        h = projected(g, x, "conv_1x1", channels)
        rp, rh = g.relu(p, "act_prev"), g.relu(h, "act_right")
        around = "same"
        smaller = h
        if zeros:  # Keras pads before it pools: a maximum over the edge is at least 0
            smaller, around = g.pad(h, same_padding(g.shape(h)[2:]), name="pad"), 0
        left = separable(g, rh, "comb_iter_0_left", channels, 5, 2)
        a = g.add(left, separable(g, rp, "comb_iter_0_right", channels, 7, 2), "comb_iter_0")
        largest = g.max_pool(smaller, 3, 2, around, "comb_iter_1_left")
        b = g.add(largest, separable(g, rp, "comb_iter_1_right", channels, 7, 2), "comb_iter_1")
        mean = g.avg_pool(smaller, 3, 2, around, "comb_iter_2_left")
        c = g.add(mean, separable(g, rp, "comb_iter_2_right", channels, 5, 2), "comb_iter_2")
        d = g.add(average(g, a, "comb_iter_3_right"), b, "comb_iter_3")
        e = separable(g, g.relu(a, "act_iter_0"), "comb_iter_4_left", channels, 3)
        e = g.add(e, largest, "comb_iter_4")
        return g.concat((b, c, d, e), "concat")


def same_padding(hw: tuple[int, int]) -> tuple:
    """For a window of 3 and a stride of 2, as TensorFlow does it."""
    (h, w) = hw
    return (h % 2, 1), (w % 2, 1)


def adjusted(g: GraphBuilder, previous: str, x: str, channels: int) -> str:
    """The cell before the last, made as large and as wide as the last."""
    if previous == x:  # the first stem cell
        return x
    if g.shape(previous)[2:] == g.shape(x)[2:]:
        return projected(g, previous, "conv_prev_1x1", channels)
    y = g.relu(previous, "act")
    paths = []
    for name in ("path_1", "path_2"):
        with g.scope(name):
            after = 0
            if name == "path_2":  # a pixel further to the right and down, with zeros beyond the edge
                _, _, h, w = g.shape(y)
                y = g.slice(g.slice(y, 1, h, "crop_h", axis=2), 1, w, "crop_w", axis=3)
                after = ((0, 1), (0, 1))
            pooled = g.avg_pool(y, 1, 2, after, "avgpool")
            paths.append(g.conv(pooled, "conv", channels // 2, 1, bias=False))
    return g.batch_norm(g.concat(paths, "path"), "final_path_bn", EPS)


def projected(g: GraphBuilder, x: str, name: str, channels: int) -> str:
    with g.scope(name):
        x = g.conv(g.relu(x, "act"), "conv", channels, 1, bias=False)
        return g.batch_norm(x, "bn", EPS)


def separable(g: GraphBuilder, x: str, name: str, channels: int, kernel: int, stride: int = 1) -> str:
    """Twice ReLU (the first one done already), depthwise and 1x1 convolution, batch norm."""
    with g.scope(name):
        for i in (1, 2):
            c = g.channels(x)
            step = stride if i == 1 else 1
            x = g.conv(x, f"separable_{i}.depthwise_conv2d", c, kernel, step, "same", groups=c, bias=False)
            x = g.conv(x, f"separable_{i}.pointwise_conv2d", channels, 1, bias=False)
            x = g.batch_norm(x, f"bn_sep_{i}", EPS)
            if i == 1:
                x = g.relu(x, "act_2")
    return x


def average(g: GraphBuilder, x: str, name: str) -> str:
    return g.avg_pool(x, 3, 1, 1, name, count_include_pad=False)


# --- Keras's names

WHOLE = {"stem_conv1": "conv0.conv", "stem_bn1": "conv0.bn", "predictions": "last_linear"}
PARTS = {"conv_1": "conv_1x1.conv", "bn_1": "conv_1x1.bn"}
ADJUST = {"conv_1": "path_1.conv", "conv_2": "path_2.conv", "conv_projection": "conv_prev_1x1.conv"}
NORMAL = {"left1": "0_left", "right1": "0_right", "left2": "1_left", "right2": "1_right", "left5": "4_left"}
REDUCTION = {"left1": "0_left", "right1": "0_right", "right2": "1_right", "right3": "2_right", "left4": "4_left"}
KERNELS = {"depthwise": "depthwise_conv2d", "pointwise": "pointwise_conv2d"}
CELL = re.compile(r"(\w+?)_(stem_[12]|reduce_\d+|\d+)")
SEPARABLE = re.compile(r"separable_conv_([12])_(bn_)?(normal|reduction)_(\w+)")


def keras_name(cells: int, key: str) -> str:
    """Our name of "separable_conv_1_normal_left1_0.depthwise.weight" and the like; other keys as they are."""
    path, _, leaf = key.rpartition(".")
    layer, *inner = path.split(".")
    if layer in WHOLE:
        return f"{WHOLE[layer]}.{leaf}"
    found = CELL.fullmatch(layer)
    if not found:
        return key
    part, cell = found[1], cell_name(cells, found[2])
    kind, _, rest = part.partition("_")
    if part == "adjust_bn":
        return f"{cell}.{'final_path_bn' if cell in reduced(cells) else 'conv_prev_1x1.bn'}.{leaf}"
    if kind == "adjust" and rest in ADJUST:
        return f"{cell}.{ADJUST[rest]}.{leaf}"
    if kind in ("normal", "reduction") and rest in PARTS:
        return f"{cell}.{PARTS[rest]}.{leaf}"
    if found := SEPARABLE.fullmatch(part):
        number, norm, kind, side = found.groups()
        comb = f"{cell}.comb_iter_{(NORMAL if kind == 'normal' else REDUCTION)[side]}"
        within = f"bn_sep_{number}" if norm else ".".join((f"separable_{number}", *(KERNELS[name] for name in inner)))
        return f"{comb}.{within}.{leaf}"
    return key


def cell_name(cells: int, label: str) -> str:
    """Keras counts the reductions among the cells."""
    kind, _, number = label.rpartition("_")
    if kind == "stem":
        return f"cell_stem_{int(number) - 1}"
    if kind == "reduce":
        return f"reduction_cell_{int(number) // cells - 1}"
    return f"cell_{int(number) - int(number) // (cells + 1) if int(number) <= 2 * cells else int(number) - 1}"


def reduced(cells: int) -> set[str]:
    """The cells whose other input is larger than their first."""
    return {"cell_stem_1", "cell_0", f"cell_{cells}", f"cell_{2 * cells}"}


def add(name: str, net: tuple, reference: str, zeros: bool, softmax: bool, aliases: tuple[str, ...] = ()) -> None:
    widths, pixels, params, bn_buffers, macs = net
    register(
        Architecture(
            name,
            partial(build, widths, zeros, softmax),
            params,
            macs,
            bn_buffers,
            input_shape=(3, pixels, pixels),
            paper="https://arxiv.org/abs/1707.07012",
            reference=reference,
            aliases=aliases,
            rename=partial(keras_name, widths[2]) if zeros else None,
        )
    )


add("nasnet_large", LARGE, "timm:nasnetalarge", False, False, ("nasnetalarge",))
add("nasnet_mobile", MOBILE, "keras:NASNetMobile", True, False)
add("keras_nasnet_large", LARGE, "keras:NASNetLarge", True, True)
add("keras_nasnet_mobile", MOBILE, "keras:NASNetMobile", True, True)
