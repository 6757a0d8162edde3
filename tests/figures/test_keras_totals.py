"""Table A3: what `model.summary()` of Keras 3.15.1 prints below keras.applications' networks, from ours of the same."""

from __future__ import annotations

import pytest
from documented import model, summary

from cnnkern import models

# total, trainable and non-trainable params, total with include_top=False (None: not written down), MACs, weight tensors
TOTALS = {
    "keras_vgg16": (138_357_544, 138_357_544, 0, 14_714_688, 15_470_264_320, 32),
    "keras_vgg19": (143_667_240, 143_667_240, 0, 20_024_384, 19_632_062_464, 38),
    "keras_resnet50": (25_636_712, 25_583_592, 53_120, 23_587_712, 3_857_973_248, 320),
    "keras_resnet101": (44_707_176, 44_601_832, 105_344, 42_658_176, 7_570_194_432, 626),
    "keras_resnet152": (60_419_944, 60_268_520, 151_424, 58_370_944, 11_282_415_616, 932),
    "keras_resnet50v2": (25_613_800, 25_568_360, 45_440, 23_564_800, 3_482_255_360, 272),
    "keras_resnet101v2": (44_675_560, 44_577_896, 97_664, 42_626_560, 7_194_476_544, 544),
    "keras_resnet152v2": (60_380_648, 60_236_904, 143_744, 58_331_648, 10_906_697_728, 816),
    "keras_inception_v3": (23_851_784, 23_817_352, 34_432, 21_802_784, 5_713_216_096, 378),
    "keras_inception_resnet_v2": (55_873_736, 55_813_192, 60_544, 54_336_736, 13_155_794_016, 898),
    "keras_xception": (22_910_480, 22_855_952, 54_528, 20_861_480, 8_357_403_496, 236),
    "keras_mobilenet": (4_253_864, 4_231_976, 21_888, 3_228_864, 568_740_352, 137),
    "keras_mobilenet_v2": (3_538_984, 3_504_872, 34_112, 2_257_984, 300_774_272, 262),
    "keras_densenet121": (8_062_504, 7_978_856, 83_648, 7_037_504, 2_834_161_664, 606),
    "keras_densenet169": (14_307_880, 14_149_480, 158_400, 12_642_880, 3_359_843_328, 846),
    "keras_densenet201": (20_242_984, 20_013_928, 229_056, 18_321_984, 4_291_365_888, 1_006),
    "keras_nasnet_mobile": (5_326_716, 5_289_978, 36_738, 4_269_716, 563_638_816, 1_126),
    "keras_nasnet_large": (88_949_818, 88_753_150, 196_668, 84_916_818, 23_783_414_658, 1_546),
    "keras_efficientnet_b0": (5_330_571, 5_288_548, 42_023, 4_049_571, 385_814_752, 314),
    "keras_efficientnet_b1": (7_856_239, 7_794_184, 62_055, None, 686_802_832, 442),
    "keras_efficientnet_b2": (9_177_569, 9_109_994, 67_575, None, 993_561_872, 442),
    "keras_efficientnet_b3": (12_320_535, 12_233_232, 87_303, None, 1_827_141_392, 499),
    "keras_efficientnet_b4": (19_466_823, 19_341_616, 125_207, None, 4_393_771_024, 613),
    "keras_efficientnet_b5": (30_562_527, 30_389_784, 172_743, None, 10_266_384_752, 741),
    "keras_efficientnet_b6": (43_265_143, 43_040_704, 224_439, None, 19_067_593_536, 855),
    "keras_efficientnet_b7": (66_658_687, 66_347_960, 310_727, None, 37_745_884_192, 1_040),
    "keras_mobilenet_025": (475_544, 470_072, 5_472, None, 41_030_272, 137),
    "keras_mobilenet_050": (1_342_536, 1_331_592, 10_944, None, 149_497_088, 137),
    "keras_mobilenet_075": (2_601_976, 2_585_560, 16_416, None, 325_400_448, 137),
    "keras_mobilenet_v2_035": (1_691_208, 1_677_128, 14_080, None, 59_285_808, 262),
    "keras_mobilenet_v2_050": (1_987_224, 1_968_680, 18_544, None, 97_131_840, 262),
    "keras_mobilenet_v2_075": (2_663_064, 2_636_424, 26_640, None, 209_069_792, 262),
    "keras_mobilenet_v2_130": (5_431_048, 5_386_792, 44_256, None, 509_374_560, 262),
    "keras_mobilenet_v2_140": (6_156_712, 6_108_776, 47_936, None, 582_195_824, 262),
}
# Keras keeps the scaling of the pictures as a layer of EfficientNet, Normalization, whose mean (3), variance (3) and
# count (1) it adds to the params that are not trained; here that belongs to preprocessing.
NORMALIZATION = (7, 3)  # values, tensors
SEQUENTIAL = {"keras_cats_dogs", "keras_mnist_convnet"}  # the course's own networks: B5


def test_every_keras_network_has_its_row():
    assert set(TOTALS) == set(models.list("keras_*")) - SEQUENTIAL


@pytest.mark.parametrize("name", TOTALS)
def test_totals(name):
    total, trainable, fixed, without_top, macs, tensors = TOTALS[name]
    values, count = NORMALIZATION if name.startswith("keras_efficientnet") else (0, 0)
    found = summary(name)
    assert (found.total_params, found.params, found.buffers) == (total - values, trainable, fixed - values)
    assert found.tensors + found.buffer_tensors == tensors - count
    assert found.macs == macs
    if without_top is not None:
        assert summary(name, False).total_params == without_top - values


@pytest.mark.parametrize("name", TOTALS)
def test_the_column_param_adds_up_to_the_total(name):
    """Keras's "Param #" holds the running statistics of a batch norm too; none is counted twice or left out."""
    found, params = summary(name), model(name).graph.params.values()
    assert sum(layer.params + layer.buffers for layer in found.layers) == found.total_params
    assert found.tensors + found.buffer_tensors == sum(param.trainable or param.statistic for param in params)
