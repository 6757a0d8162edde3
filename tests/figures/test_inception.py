"""B3: the inception module, naive and with bottlenecks, and GoogLeNet."""

from __future__ import annotations

from documented import Figure, depth, each, layer, summary, values, volume, weighted

NAIVE, BOTTLENECK, G = "inception_naive", "inception_bottleneck", "googlenet_2014"
SMALL_G = 5_000_000  # the parameters that three documents give GoogLeNet
OPERATIONS = {"1x1": 25_690_112, "3x3": 346_816_512, "5x5": 481_689_600}
BOTTLENECK_OPERATIONS = {
    "3x3_reduce": 12_845_056, "5x5_reduce": 12_845_056, "1x1": 25_690_112, "3x3": 86_704_128, "5x5": 120_422_400,
    "pool_proj": 12_845_056,
}  # fmt: skip


def macs(name: str, wanted: str) -> int:
    return layer(name, wanted).macs


def times(large: int, small: int) -> float:
    return round(large / small, 2)


def params(name: str, include_top: bool = True) -> int:
    return summary(name, include_top).params


def auxiliary(head: str) -> int:
    return sum(row.params for row in summary(f"{G}_aux").layers if row.name.startswith(f"{head}/"))


FIGURES = (
    Figure("B3.1", "001, 002", "28x28x(128+192+96+256)", (28, 28, 672), "right", (28, 28, 672),
           lambda: volume(NAIVE, "output")),
    Figure("B3.1", "001, 002", "the four branches", (128, 192, 96, 256), "right", (128, 192, 96, 256),
           lambda: tuple(volume(NAIVE, name)[2] for name in ("1x1", "3x3", "5x5", "pool"))),
    Figure("B3.2", "002", "= 529k", 529_000, "wrong", 526_848, lambda: values(NAIVE, "output")),
    *(
        Figure("B3.3", "001, 002", f"{name} conv", n, "right", n, lambda name=name: macs(NAIVE, name))
        for name, n in OPERATIONS.items()
    ),
    Figure("B3.3", "001, 002", "total 854M", 854_000_000, "rounded", 854_196_224, lambda: summary(NAIVE).macs),
    *(
        Figure("B3.4", "001, 002", f"{name} conv", n, "right", n, lambda name=name: macs(BOTTLENECK, name))
        for name, n in BOTTLENECK_OPERATIONS.items()
    ),
    Figure("B3.4", "001, 002", "total 358M", 358_000_000, "wrong", 271_351_808, lambda: summary(BOTTLENECK).macs),
    # where the 358M comes from
    Figure("B3.4", "001, 002", "358M, the 3x3 twice", 358_000_000, "rounded", 358_055_936,
           lambda: summary(BOTTLENECK).macs + macs(BOTTLENECK, "3x3")),
    Figure("B3.4", "001, 002", "854M / 358M = 2.39 times", 2.39, "wrong", 3.15,
           lambda: times(summary(NAIVE).macs, summary(BOTTLENECK).macs)),
    Figure("B3.5", "002", "pooling keeps depth: 256", 256, "right", 256, lambda: volume(NAIVE, "pool")[2]),
    Figure("B3.6", "001, 002", "the bottleneck module's output", None, "derived", (28, 28, 480),
           lambda: volume(BOTTLENECK, "output")),
    Figure("B3.6", "001, 002", "... in values", None, "derived", 376_320, lambda: values(BOTTLENECK, "output")),
    Figure("B3.7", "000, 002, 003", "only 5M parameters", SMALL_G, "wrong", 6_998_552, lambda: params(G)),
    # cut off it would do for the network without its classifier, rounded it would not
    Figure("B3.7", "000, 002, 003", "without the classifier", None, "derived", 5_973_552, lambda: params(G, False)),
    Figure("B3.8", "003", "7M parameters", 7_000_000, "rounded", 6_998_552, lambda: params(G)),
    Figure("B3.8", "003", "22 layers", 22, "right", 22, lambda: depth(G)),
    Figure("B3.9", "004", "4 million", 4_000_000, "wrong", 6_998_552, lambda: params(G)),
    Figure("B3.10", "000, 001, 002", "12x less than AlexNet", 12, "wrong", 8.71,
           lambda: times(params("alexnet_227_grouped"), params(G))),
    Figure("B3.10", "000, 001, 002", "12x less than ungrouped AlexNet", 12, "wrong", 8.91,
           lambda: times(params("alexnet_227"), params(G))),
    Figure("B3.10", "000, 001, 002", "12x if it had 5M", 12, "rounded", 12.19,
           lambda: times(params("alexnet_227_grouped"), SMALL_G)),
    Figure("B3.11", "002", "27x less than VGG-16", 27, "wrong", 19.77, lambda: times(params("vgg16"), params(G))),
    Figure("B3.11", "002", "27x if it had 5M", 27, "truncated", 27.67, lambda: times(params("vgg16"), SMALL_G)),
    Figure("B3.12", "000-004", "22 layers", 22, "right", 22, lambda: depth(G)),
    Figure("B3.12", "002", "2 layers per inception module", 2, "right", 2, lambda: depth(BOTTLENECK)),
    Figure("B3.13", "000-003", "no FC layers", 0, "misleading", 1, lambda: len(dense(G))),
    Figure("B3.13", "000-003", "their parameters", 0, "misleading", 1_025_000,
           lambda: sum(row.params for row in dense(G))),
    Figure("B3.13", "000-003", "percent of all parameters", 0, "misleading", 14.6,
           lambda: round(100 * sum(row.params for row in dense(G)) / params(G), 1)),
    Figure("B3.14", "002", "first auxiliary head", None, "derived", 3_188_840, lambda: auxiliary("loss1")),
    Figure("B3.14", "002", "second auxiliary head", None, "derived", 3_190_888, lambda: auxiliary("loss2")),
)  # fmt: skip


def dense(name: str) -> list:
    return [row for row in weighted(name) if row.op == "linear"]


@each(FIGURES)
def test_figure(figure):
    figure.check()


def test_b3_3_and_b3_4_the_rows_are_all_there_is():
    """B3.3, B3.4 (001, 002): the convolutions in the documents' order sum to the totals."""
    assert sum(OPERATIONS.values()) == summary(NAIVE).macs
    assert sum(BOTTLENECK_OPERATIONS.values()) == summary(BOTTLENECK).macs


def test_b3_12_nine_modules_three_layers_before_them_one_after():
    """B3.12 (000-004): 3 + 9 * 2 + 1 = 22."""
    modules = {row.name.partition("/")[0] for row in weighted(G) if row.name.startswith("inception")}
    others = [row.name for row in weighted(G) if not row.name.startswith("inception")]
    assert len(modules) == 9 and len(others) == 3 + 1 and depth(G) == 3 + 9 * 2 + 1


def test_b3_14_the_auxiliary_heads_layers():
    """B3.14 (002): AvgPool - 1x1 Conv - FC - FC - Softmax, the softmax being the reader's here as for the scores."""
    for head in ("loss1", "loss2"):
        rows = [row for row in summary(f"{G}_aux").layers if row.name.startswith(f"{head}/")]
        assert [row.op for row in rows if row.op not in ("activation", "flatten")] == [
            "pool2d", "conv2d", "linear", "linear",
        ]  # fmt: skip
        assert layer(f"{G}_aux", f"{head}/ave_pool").output_shape[1:] == (4, 4)
        assert layer(f"{G}_aux", f"{head}/conv").output_shape == (128, 4, 4)


def test_b3_15_the_network_of_2014_has_no_batch_norm():
    """B3.15 (004) says that it "proposes batch normalization": wrong, that came with the next one."""
    ops = [row.op for row in summary(G).layers]
    assert "batch_norm" not in ops and ops.count("local_response_norm") == 2
    assert "batch_norm" in [row.op for row in summary("googlenet").layers]
