"""B2: VGG, its table of memory and parameters among it."""

from __future__ import annotations

import pytest
from documented import Figure, depth, each, kernels, layer, model, stack, summary, values, volume, weighted

V = "vgg16"
MIB = 2**20
# VGG16's table: layer, its shape, memory as printed, exact values, parameters without bias (printed exactly)
ROWS = (
    ("features.0", (224, 224, 64), 3_200_000, 3_211_264, 1_728),
    ("features.2", (224, 224, 64), 3_200_000, 3_211_264, 36_864),
    ("features.4", (112, 112, 64), 800_000, 802_816, 0),
    ("features.5", (112, 112, 128), 1_600_000, 1_605_632, 73_728),
    ("features.7", (112, 112, 128), 1_600_000, 1_605_632, 147_456),
    ("features.9", (56, 56, 128), 400_000, 401_408, 0),
    ("features.10", (56, 56, 256), 800_000, 802_816, 294_912),
    ("features.12", (56, 56, 256), 800_000, 802_816, 589_824),
    ("features.14", (56, 56, 256), 800_000, 802_816, 589_824),
    ("features.16", (28, 28, 256), 200_000, 200_704, 0),
    ("features.17", (28, 28, 512), 400_000, 401_408, 1_179_648),
    ("features.19", (28, 28, 512), 400_000, 401_408, 2_359_296),
    ("features.21", (28, 28, 512), 400_000, 401_408, 2_359_296),
    ("features.23", (14, 14, 512), 100_000, 100_352, 0),
    ("features.24", (14, 14, 512), 100_000, 100_352, 2_359_296),
    ("features.26", (14, 14, 512), 100_000, 100_352, 2_359_296),
    ("features.28", (14, 14, 512), 100_000, 100_352, 2_359_296),
    ("features.30", (7, 7, 512), 25_000, 25_088, 0),
    ("classifier.0", (4096,), 4_096, 4_096, 102_760_448),
    ("classifier.3", (4096,), 4_096, 4_096, 16_777_216),
    ("classifier.6", (1000,), 1_000, 1_000, 4_096_000),
)
DENSE = ("classifier.0", "classifier.3", "classifier.6")
# configuration: network, convolutions, convolutions that 003 prints of it (its repeated lines are lost)
CONFIGURATIONS = {
    "A": ("vgg11", 8, 5), "A-LRN": ("vgg11_lrn", 8, None), "B": ("vgg13", 10, 7), "C": ("vgg16_c", 13, 8),
    "D": ("vgg16", 13, 8), "E": ("vgg19", 16, 8),
}  # fmt: skip


def parameters(name: str) -> int:
    return kernels(V, name) if layer(V, name).params else 0


def convolutions(name: str) -> int:
    return sum(row.op == "conv2d" for row in weighted(name))


def doubled_for_relu() -> int:
    """The table's values with every convolution's and dense layer's output counted twice."""
    return summary(V).memory_bytes // 4 + sum(values(V, row.name) for row in weighted(V))


FIGURES = (
    Figure("B2.1", "001, 002", "three 3x3 see 7x7", (3, 5, 7), "right", (3, 5, 7),
           lambda: tuple(row.receptive_field[0] for row in stack((3, 3, 3), 1).layers)),
    Figure("B2.1", "001, 002", "one 7x7 sees 7x7", 7, "right", 7, lambda: stack((7,), 1).layers[0].receptive_field[1]),
    Figure("B2.3", "001, 002", "INPUT 150K", 150_000, "rounded", 150_528, lambda: summary(V).input_bytes // 4),
    *(
        Figure("B2.3", "001, 002", f"{name} memory {printed}", printed, "rounded", exact,
               lambda name=name: values(V, name))
        for name, _, printed, exact, _ in ROWS
    ),
    *(
        Figure("B2.3", "001, 002", f"{name} params {params:,}", params, "right", params,
               lambda name=name: parameters(name))
        for name, _, _, _, params in ROWS
    ),
    Figure("B2.4", "001, 002", "TOTAL memory: 24M", 24_000_000, "wrong", 15_237_608,
           lambda: summary(V).memory_bytes // 4),
    Figure("B2.4", "001, 002", "~= 96MB / image", 96_000_000, "wrong", 60_950_432, lambda: summary(V).memory_bytes),
    Figure("B2.4", "001, 002", "in MB", None, "derived", "60.95 MB, 58.13 MiB",
           lambda: f"{summary(V).memory_bytes / 1e6:.2f} MB, {summary(V).memory_bytes / MIB:.2f} MiB"),
    Figure("B2.4", "001, 002", "24M with separate ReLUs", 24_000_000, "wrong", 28_794_320, doubled_for_relu),
    Figure("B2.5", "001, 002", "*2 for bwd: 2 x 24M", 48_000_000, "wrong", 30_475_216,
           lambda: 2 * summary(V).memory_bytes // 4),
    Figure("B2.5", "001, 002", "*2 for bwd: 192MB", 192_000_000, "wrong", 121_900_864,
           lambda: 2 * summary(V).memory_bytes),
    Figure("B2.6", "001-004", "138M with biases", 138_000_000, "rounded", 138_357_544, lambda: summary(V).params),
    Figure("B2.6", "001-004", "138M without biases", 138_000_000, "rounded", 138_344_128,
           lambda: sum(kernels(V, row.name) for row in weighted(V))),
    Figure("B2.6", "001-004", "biases", None, "derived", 13_416,
           lambda: sum(row.params - kernels(V, row.name) for row in weighted(V))),
    Figure("B2.7", "002", "most memory is in early CONV: percent in the first two", None, "derived", 42.1,
           lambda: round(400 * (values(V, "features.0") + values(V, "features.2")) / summary(V).memory_bytes, 1)),
    Figure("B2.7", "002", "most params are in late FC: percent", None, "derived", 89.4,
           lambda: round(100 * sum(map(parameters, DENSE)) / sum(row[4] for row in ROWS), 1)),
    *(
        Figure("B2.8", "003, 004", f"{column}: {convs}+3", (convs, 3, convs + 3), "right", (convs, 3, convs + 3),
               lambda name=name: (convolutions(name), len(weighted(name)) - convolutions(name), depth(name)))
        for column, (name, convs, _) in CONFIGURATIONS.items()
    ),
    *(
        Figure("B2.9", "003", f"{column} with {printed} convolutions", printed, "wrong", convs,
               lambda name=name: convolutions(name))
        for column, (name, convs, printed) in CONFIGURATIONS.items() if printed
    ),
    # pairs of 64, 128, 256, 512, 512 and FC-4096, 4096, 1000: configuration B, where the rest of 002 has VGG16
    Figure("B2.10", "002", "transfer stack's convolutions", 13, "inconsistent", 10, lambda: convolutions("vgg13")),
    Figure("B2.10", "002", "transfer stack's parameters", None, "derived", 133_047_848,
           lambda: summary("vgg13").params),
    Figure("B2.11", "003", "from 64, double until 512", (64, 128, 256, 512, 512), "right", (64, 128, 256, 512, 512),
           lambda: tuple(row.output_shape[0] for row in summary(V).layers if row.op == "pool2d")),
)  # fmt: skip


@each(FIGURES)
def test_figure(figure):
    figure.check()


def test_b2_2_three_3x3_need_fewer_weights_than_one_7x7(rng):
    """B2.2 (001, 002): 3 * (3 * 3 * C * C) = 27 C^2 against 49 C^2."""
    channels = int(rng.integers(2, 513))
    small, large = stack((3, 3, 3), channels).params, stack((7,), channels).params
    assert (small, large) == (27 * channels**2, 49 * channels**2) and round(small / large, 3) == 0.551


@pytest.mark.parametrize("name, shape", [row[:2] for row in ROWS])
def test_b2_3_shapes(name, shape):
    """B2.3 (001, 002)."""
    assert volume(V, name) == shape


def test_b2_3_the_rows_are_all_of_the_network():
    """B2.3, B2.4, B2.6: the rows' sums are the totals; nothing else holds values or weights."""
    assert sum(row[3] for row in ROWS) + 150_528 == summary(V).memory_bytes // 4 == 15_237_608
    assert sum(row[4] for row in ROWS) == 138_344_128
    assert len(weighted(V)) == sum(row[4] > 0 for row in ROWS)


def test_b2_4_the_printed_roundings_do_not_give_24m_either():
    """B2.4: they sum to 15.18M; 24M values of four bytes would be 96MB."""
    assert sum(row[2] for row in ROWS) + 150_000 == 15_184_192
    assert 4 * 24_000_000 == 96_000_000


def test_b2_10_the_pairs_of_the_transfer_stack():
    """B2.10 (002)."""
    channels = [row.output_shape[0] for row in weighted("vgg13")]
    assert channels == [64, 64, 128, 128, 256, 256, 512, 512, 512, 512, 4096, 4096, 1000]


def test_b2_11_every_width_is_that_of_its_stage():
    """B2.11 (003)."""
    widths = [model(V).graph.params[f"{row.name}.weight"].shape[0] for row in weighted(V) if row.op == "conv2d"]
    assert widths == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
