"""B5: the tables that Keras prints in document 004. (B5.12 is a training recipe.)"""

from __future__ import annotations

import numpy as np
from documented import Figure, each, layer, model, summary, volume

import cnnkern
from cnnkern.graph.ir import Param
from cnnkern.ops import Conv2dSpec
from cnnkern.ops.base import product

M, TRANSFER = "keras_mnist_convnet", "vgg16_transfer_150"
# layer: its output as Keras prints it, its parameters
MNIST = {
    "B5.1": {"conv2d_1": ((26, 26, 32), 320)},
    "B5.2": {"conv2d_2": ((11, 11, 64), 18_496)},
    "B5.3": {"conv2d_3": ((3, 3, 64), 36_928)},
    "B5.4": {"max_pooling2d_1": ((13, 13, 32), 0), "max_pooling2d_2": ((5, 5, 64), 0)},
    "B5.5": {"flatten_1": ((576,), 0), "dense_1": ((64,), 36_928), "dense_2": ((10,), 650)},
}


def trainable(frozen: frozenset[str] = frozenset()) -> list[Param]:
    return [p for name, p in model(TRANSFER).graph.params.items() if p.trainable and name not in frozen]


def conv_base() -> frozenset[str]:
    """What `conv_base.trainable = False` freezes: the params of the network without its top."""
    return frozenset(model(TRANSFER, include_top=False).graph.params)


def block5_on() -> list[Param]:
    """What is left to train when the base is frozen up to block5_conv1."""
    return trainable(frozenset(name for name in conv_base() if not name.startswith("block5_")))


def values(params: list[Param]) -> int:
    return sum(product(param.shape) for param in params)


FIGURES = (
    *(
        Figure(row, "004", f"{name} {shape} {params}", (shape, params), "right", (shape, params),
               lambda name=name: (volume(M, name), layer(M, name).params))
        for row, printed in MNIST.items() for name, (shape, params) in printed.items()
    ),
    Figure("B5.1", "004", "(9*1+1)*32", (9 * 1 + 1) * 32, "right", 320, lambda: layer(M, "conv2d_1").params),
    Figure("B5.2", "004", "(3*3*32+1)*64", (3 * 3 * 32 + 1) * 64, "right", 18_496, lambda: layer(M, "conv2d_2").params),
    Figure("B5.6", "004", "Total params 93,322", 93_322, "right", 93_322, lambda: summary(M).total_params),
    Figure("B5.6", "004", "their multiplications", None, "derived", 2_794_240, lambda: summary(M).macs),
    Figure("B5.7", "004", "VGG16 without top (4,4,512)", (4, 4, 512), "right", (4, 4, 512),
           lambda: volume(TRANSFER, "block5_pool")),
    Figure("B5.7", "004", "VGG16 without top 14714688", 14_714_688, "right", 14_714_688,
           lambda: summary(TRANSFER, False).total_params),
    Figure("B5.8", "004", "flatten 8192", 8192, "right", 8192, lambda: layer(TRANSFER, "flatten_1").output_shape[0]),
    Figure("B5.8", "004", "dense_1 2097408", 2_097_408, "right", 2_097_408, lambda: layer(TRANSFER, "dense_1").params),
    Figure("B5.8", "004", "dense_2 257", 257, "right", 257, lambda: layer(TRANSFER, "dense_2").params),
    Figure("B5.8", "004", "total 16,812,353", 16_812_353, "right", 16_812_353, lambda: summary(TRANSFER).total_params),
    Figure("B5.9", "004", "trainable weights 30 before", 30, "right", 30, lambda: summary(TRANSFER).tensors),
    Figure("B5.9", "004", "trainable weights 4 after", 4, "right", 4, lambda: len(trainable(conv_base()))),
    Figure("B5.10", "004", "from block5_conv1: tensors", None, "derived", 10, lambda: len(block5_on())),
    Figure("B5.10", "004", "from block5_conv1: params", None, "derived", 9_177_089, lambda: values(block5_on())),
    Figure("B5.10", "004", "... of convolutions, of dense layers", None, "derived", (7_079_424, 2_097_665),
           lambda: (values(block5_on()) - values(trainable(conv_base())), values(trainable(conv_base())))),
    Figure("B5.11", "004", "cats and dogs: params", None, "derived", 3_453_121,
           lambda: summary("keras_cats_dogs").total_params),
    Figure("B5.11", "004", "cats and dogs: multiplications", None, "derived", 236_095_488,
           lambda: summary("keras_cats_dogs").macs),
    Figure("B5.14", "004", "7x7, stride 1 -> 5x5", (5, 5), "right", (5, 5), lambda: seven(1)),
    Figure("B5.14", "004", "7x7, stride 2 -> 3x3", (3, 3), "right", (3, 3), lambda: seven(2)),
)  # fmt: skip


def seven(stride: int) -> tuple[int, ...]:
    [out] = Conv2dSpec((stride, stride)).infer((1, 1, 7, 7), (1, 1, 3, 3))
    return out[2:]


@each(FIGURES)
def test_figure(figure):
    figure.check()


def test_b5_4_the_odd_row_is_left_out():
    """B5.4 (004): floor(11 / 2) = 5."""
    assert layer(M, "conv2d_2").output_shape[1:] == (11, 11) and layer(M, "max_pooling2d_2").output_shape[1:] == (5, 5)


def test_b5_9_thirteen_convolutions_and_two_dense_layers():
    """B5.9 (004): 30 = 13 * 2 + 2 * 2, each with a weight and a bias."""
    layers = [row for row in summary(TRANSFER).layers if row.tensors]
    assert [row.op for row in layers] == ["conv2d"] * 13 + ["linear"] * 2
    assert all(row.tensors == 2 for row in layers)
    assert len(conv_base()) == 26 and {p.name for p in trainable(conv_base())} == {
        "dense_1.weight", "dense_1.bias", "dense_2.weight", "dense_2.bias",
    }  # fmt: skip


def test_b5_13_a_padded_5x5_input_has_25_patches(rng):
    """B5.13 (004): 5 * 5 patches of 3x3 with a padding of 1, each what lies around its pixel."""
    image = rng.standard_normal((5, 5), np.float32)
    patches = cnnkern.im2col(image[None, None], 3, padding=1)
    assert patches.shape == (1, 9, 25)
    padded = np.pad(image, 1)
    for i in range(25):
        row, column = divmod(i, 5)
        np.testing.assert_array_equal(patches[0, :, i].reshape(3, 3), padded[row : row + 3, column : column + 3])
