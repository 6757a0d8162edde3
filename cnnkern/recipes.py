"""What the published weights of every network expect of a picture: its size, its scale, the order of its colours.

Where a library publishes weights, its recipe is taken as that library states it (tests/images compares them all):
torchvision's are those of the weights IMAGENET1K_V1, timm's those of a name's default weights. Keras states scale,
mean and order alone, so pictures are cut for its networks as for torchvision's. Networks of the Caffe years want blue,
green, red on 0..255 less a mean. For CIFAR-10 it is the data set's mean and standard deviation; that NiN whitened its
pictures (ZCA) no recipe of this kind can say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DIGIT_MEAN = (0.3,)  # of the training scans after upsampling, rounded
DIGIT_STD = (0.32,)


@dataclass(frozen=True)
class Recipe:
    """From a picture to a network's input: resize, crop, then y = (pixel * white / 255 - mean) / std.

    Attributes:
        mean, std: per channel, in the network's order and on the scale where white is `white`; 1 or 3 of them.
        white: what the value 255 becomes before the mean is taken away: 1, or 255 for networks of Caffe's kind.
        order: of the channels, "RGB" or "BGR".
        margin: (a, b): the shorter side becomes a pixels for a crop of b, and in proportion for other crops.
        filter: of the resizing, a name that `images.preprocess` takes.
        squash: True resizes both sides for themselves, so that the whole picture is seen, out of proportion.
        ink: True makes a drawing bright on a dark ground (`images.bright_ink`) first.
        scan: pixels of the scans the network learnt from; the picture is brought to that resolution first.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    white: float = 1.0
    order: str = "RGB"
    margin: tuple[int, int] = (256, 224)
    filter: str = "bilinear"
    squash: bool = False
    ink: bool = False
    scan: int | None = None

    @property
    def channels(self) -> int:
        return len(self.mean)

    def resized(self, crop: int) -> int:
        """The length in pixels that a side has before it is cropped to `crop`."""
        return round(crop * self.margin[0] / self.margin[1])


def recipe(model: str, channels: int = 3) -> Recipe:
    """The recipe of the network with this id.

    Args:
        model: an id of `cnnkern.models.list()`, torchvision's or timm's name of one, or any name of one's own.
        channels: of the network's input, 1 or 3.
    Returns:
        The network's `Recipe`; for a name that is not known torchvision's ImageNet recipe, or bright ink on black in
        0..1 for one channel.
    Example:
        >>> from cnnkern import images
        >>> images.recipe("keras_vgg16").order
        'BGR'
    """
    for names, found in TABLE:
        if found.channels == channels and any(fnmatchcase(model, name) for name in names.split()):
            return found
    return IMAGENET if channels == 3 else INK


IMAGENET = Recipe()
BICUBIC = Recipe(filter="bicubic")
HALF = Recipe((0.5,) * 3, (0.5,) * 3)  # -1..1, as TensorFlow's networks have it
HALF_BICUBIC = replace(HALF, filter="bicubic")
# Keras's converted weights of VGG and ResNet; the VGG authors' own Caffe files, and Microsoft's, are alike.
CAFFE = Recipe((103.939, 116.779, 123.68), (1.0,) * 3, white=255.0, order="BGR")
# Caffe's own networks: the ImageNet pictures were brought to 256x256, whatever they were before.
BVLC = replace(CAFFE, mean=(104.0, 117.0, 123.0), squash=True)
CIFAR = Recipe((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), margin=(1, 1))
UNIT = Recipe((0.0,) * 3, (1.0,) * 3, margin=(1, 1))
COURSE = replace(
    UNIT, filter="nearest", squash=True
)  # load_img(target_size=...) and rescale=1/255 of the Keras courses
INK = Recipe((0.0,), (1.0,), margin=(1, 1), ink=True)
DIGITS = Recipe(DIGIT_MEAN, DIGIT_STD, margin=(1, 1), ink=True, scan=8)

# Names (patterns as in a shell) -> recipe; the first that fits counts. What is not here is IMAGENET, or INK.
TABLE: tuple[tuple[str, Recipe], ...] = (
    ("lenet5-digits", DIGITS),
    ("*_cifar *_cifar_b *_cifar10", CIFAR),
    ("deepface", UNIT),
    ("keras_cats_dogs vgg16_transfer_150", COURSE),
    # the years of Caffe
    ("alexnet_227*", replace(BVLC, margin=(256, 227))),
    ("googlenet_2014* bvlc_googlenet nin_imagenet zfnet*", BVLC),
    ("fast_rcnn_vgg16*", replace(CAFFE, mean=(102.9801, 115.9465, 122.7717), margin=(1, 1))),
    ("vgg11_lrn vgg16_c vgg_b_shallow5x5 resnet50_v1", CAFFE),
    # Keras
    ("keras_vgg?? keras_resnet50 keras_resnet101 keras_resnet152", CAFFE),
    ("keras_resnet*v2 keras_inception* keras_xception keras_mobilenet* *nasnet_mobile keras_nasnet*", HALF),
    # torchvision
    ("inception_v3*", replace(IMAGENET, margin=(342, 299))),
    ("resnext101_64x4d shufflenet_v2_x1_5 shufflenet_v2_x2_0", replace(IMAGENET, margin=(232, 224))),
    ("efficientnet_b0", BICUBIC),
    ("efficientnet_b1", replace(BICUBIC, margin=(256, 240))),
    ("efficientnet_b3", replace(BICUBIC, margin=(320, 300))),
    ("efficientnet_b4", replace(BICUBIC, margin=(384, 380))),
    ("efficientnet_b?", replace(BICUBIC, margin=(1, 1))),
    # timm
    ("mobilenet_v1_* mobilenetv1_* resnetv2_152", HALF_BICUBIC),
    ("resnetv2_18 resnetv2_34", replace(HALF_BICUBIC, margin=(248, 224))),
    ("resnetv2_50 resnetv2_101", replace(HALF_BICUBIC, margin=(235, 224))),
    ("inception_resnet_v2 xception legacy_xception", replace(HALF_BICUBIC, margin=(333, 299))),
    ("xception41", replace(HALF_BICUBIC, margin=(331, 299))),
    ("nasnet_large nasnetalarge", replace(HALF_BICUBIC, margin=(363, 331))),
    ("seresnet50", replace(BICUBIC, margin=(235, 224))),
    ("seresnet18 seresnet34 seresnet101 seresnet152 seresnext* senet154 mobilenetv2_*", BICUBIC),
    ("tf_efficientnet_b0", BICUBIC),
    ("tf_efficientnet_b1", replace(BICUBIC, margin=(272, 240))),
    ("tf_efficientnet_b2", replace(BICUBIC, margin=(292, 260))),
    ("tf_efficientnet_b3", replace(BICUBIC, margin=(331, 300))),
    ("tf_efficientnet_b4", replace(BICUBIC, margin=(412, 380))),
    ("tf_efficientnet_b5", replace(BICUBIC, margin=(488, 456))),
    ("timm_efficientnet_b5", replace(BICUBIC, margin=(1, 1), squash=True)),
    ("t*_efficientnet_b6", replace(BICUBIC, margin=(560, 528))),
    ("t*_efficientnet_b7", replace(BICUBIC, margin=(632, 600))),
)
