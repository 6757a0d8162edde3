"""Fast R-CNN against its definition: PyTorch's layers, and RoI pooling as loops in whole numbers."""

from __future__ import annotations

import math

import numpy as np

import cnnkern

from .conftest import make_pictures
from .zoo import check, error

WIDTHS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)
NAMES = [f"conv{block}_{i}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, count + 1)]
SIZE = (3, 96, 128)
ROIS = np.array(
    [
        [0, 0, 0, 127, 95],  # all of a picture, and of the other
        [1, 0, 0, 127, 95],
        [1, 33, 20, 77, 90],
        [0, 100, 50, 103, 55],  # less than a pixel of the map
        [1, 72, 40, 200, 160],  # beyond the picture; 72 and 40 are half way between two pixels of the map
    ],
    np.float32,
)


def nearest(value: float) -> int:
    """As C rounds: one half away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def roi_pool(maps: np.ndarray, rois: np.ndarray, cells: int = 7, scale: float = 1 / 16) -> np.ndarray:
    """The window h x w of each region is cut into cells of about h / 7 x w / 7, each gives its largest value."""
    y = np.zeros((len(rois), maps.shape[1], cells, cells), np.float32)
    for r, (image, *corners) in enumerate(rois.tolist()):
        left, top, right, bottom = (nearest(corner * scale) for corner in corners)
        h, w = max(bottom - top + 1, 1), max(right - left + 1, 1)
        for p in range(cells):
            for q in range(cells):
                rows = slice(max(top + p * h // cells, 0), max(top - (-(p + 1) * h // cells), 0))
                columns = slice(max(left + q * w // cells, 0), max(left - (-(q + 1) * w // cells), 0))
                seen = maps[int(image), :, rows, columns]
                if seen.size:
                    y[r, :, p, q] = seen.max(axis=(1, 2))
    return y


def network(torch):
    nn, layers, names, channels = torch.nn, [], iter(NAMES), 3
    net = nn.ModuleDict()
    for width in WIDTHS:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        conv = net[next(names)] = nn.Conv2d(channels, width, 3, padding=1)
        layers += [conv, nn.ReLU()]
        channels = width
    net.update({"fc6": nn.Linear(25088, 4096), "fc7": nn.Linear(4096, 4096)})
    net.update({"cls_score": nn.Linear(4096, 21), "bbox_pred": nn.Linear(4096, 84)})
    torch.manual_seed(1)
    for module in net.values():
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(module.bias, std=0.1)
    nn.init.normal_(
        net["cls_score"].weight, std=0.01
    )  # as the paper has it, and so that the softmax is not all or none
    return net.eval(), nn.Sequential(*layers)


def test_fast_rcnn_equals_its_definition(torch):
    net, trunk = network(torch)
    x, relu = make_pictures((2, *SIZE)), torch.nn.functional.relu
    with torch.no_grad():
        maps = trunk(torch.from_numpy(x)).numpy()
        pooled = roi_pool(maps, ROIS)
        fc7 = relu(net["fc7"](relu(net["fc6"](torch.from_numpy(pooled).flatten(1)))))
        scores = torch.softmax(net["cls_score"](fc7), 1).numpy()
        boxes = net["bbox_pred"](fc7).numpy()
    model = cnnkern.models.create("fast_rcnn_vgg16", input_shape=SIZE)
    assert not model.load_state_dict(net.state_dict())
    taps = {"relu5_3": maps, "roi_pool5": pooled, "relu7": fc7.numpy(), "bbox_pred": boxes}
    check(model, scores, taps, (x, ROIS))
    assert error(model((x, ROIS))[1], boxes) < 1e-4
    exe = model.compile(((2, *SIZE), ROIS.shape))
    assert all(error(mine, theirs) < 1e-4 for mine, theirs in zip(exe((x, ROIS)), (scores, boxes)))
