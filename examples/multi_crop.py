"""Many crops of one picture, and several networks: does what a network says depend on how the picture was cut?

    pip install .
    python examples/multi_crop.py                                     # about ten seconds on two cores
    python examples/multi_crop.py --model resnet50 --weights resnet50.pth --image photograph.jpg

One centre crop, then ten crops (corners, centre, their mirror images) at each of five scales, whose probabilities are
averaged (Krizhevsky et al. 2012, He et al. 2015), then the mean of several networks on the centre crop. Without
--weights a network's weights are random and the classes mean nothing; how far the crops lie apart is to be seen anyway.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cnnkern import evaluate, images, models


def best(probabilities: np.ndarray, count: int = 3) -> str:
    indices, values = evaluate.topk(probabilities, min(count, len(probabilities)))
    return ", ".join(f"class {i} {p:.4f}" for i, p in zip(indices, values))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Average a network's probabilities over crops, and over networks.")
    parser.add_argument("--model", default="squeezenet1_1", help="a name from `cnnkern models`")
    parser.add_argument("--weights", type=Path, help="a state dict: .safetensors, .npz or .pth; default: random")
    parser.add_argument("--image", type=Path, help="a picture; default: the packaged photograph")
    parser.add_argument("--scales", type=int, nargs="+", help="lengths of the shorter side in pixels")
    parser.add_argument("--crops", type=int, choices=images.CROPS, default=10, help="per scale; default: 10")
    parser.add_argument("--members", type=int, default=3, help="networks with other random weights; default: 3")
    args = parser.parse_args(argv)
    model = models.create(args.model)
    if args.weights:
        model.load_state_dict(args.weights)
    picture = images.load_image(args.image) if args.image else images.photograph()
    size = max(model.input_shape[1:])
    scales = args.scales or [round(size * scale / 224) for scale in evaluate.SCALES]

    x = images.prepare(picture, model.name, model.input_shape)
    single = evaluate.probabilities(model, model(x))[0]
    print(f"{model.name}, weights {args.weights or 'random'}\n1 crop:  {best(single)}")

    found = evaluate.multi_crop(model, picture, scales, args.crops)
    rows = found.crops.reshape(-1, found.crops.shape[-1])
    print(f"{len(rows)} crops:  {best(found.probabilities)}")
    for scale, of_scale in zip(scales, found.crops):
        agree = (of_scale.argmax(axis=1) == found.probabilities.argmax()).sum()
        print(
            f"  scale {scale:4d}: {best(of_scale.mean(axis=0), 1)}; {agree} of {len(of_scale)} crops have that of all"
        )
    apart = np.abs(rows - found.probabilities).sum(axis=1) / 2
    print(f"  a crop lies {apart.mean():.3f} from the mean (total variation; 1 is nothing in common)")

    if not args.weights and args.members > 1:
        members = [models.create(args.model, seed=seed) for seed in range(args.members)]
        print(f"{args.members} networks:  {best(evaluate.ensemble(members, x)[0])}")


if __name__ == "__main__":
    main()
