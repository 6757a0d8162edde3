"""Train LeNet-5 on scikit-learn's handwritten digits; this made cnnkern/data/lenet5_digits.npz.

    pip install . scikit-learn torch
    python examples/train_lenet5_digits.py --out /tmp/lenet5          # about a minute on one core

The data are the 1797 scans of `sklearn.datasets.load_digits` (8x8, ink 0..16), split once, stratified by class with a
fixed seed: 1347 to train on, 450 (25 %) held out, looked at once, after the last epoch. Each scan becomes a network's
input through `cnnkern.images.preprocess_digit`, the very function that `cnnkern run lenet5-digits` uses. Training
pictures are rotated, sheared, scaled and shifted a little at random. The schedule is fixed, there is no early stopping
and no setting was chosen by the held-out part. One thread and one seed: the same versions give the same bits.

Written to --out: lenet5_digits.npz (the weights, float32), heldout.npz (the held-out scans and labels, for the tests),
digit_7.png (a held-out seven, dark on white, magnified 16 times).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F

from cnnkern import images

SEED = 0
EPOCHS = 150
BATCH = 64
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
BACKGROUND = -images.DIGIT_MEAN[0] / images.DIGIT_STD[0]  # what a pixel without ink is after preprocessing


class LeNet5(nn.Module):
    """LeCun et al. 1998, in the form and with the names of cnnkern/models/lenet.py: 61,706 parameters, logits out."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.avg_pool2d(torch.tanh(self.c1(x)), 2)
        x = F.avg_pool2d(torch.tanh(self.c3(x)), 2)
        x = torch.tanh(self.c5(x)).flatten(1)
        return self.output(torch.tanh(self.f6(x)))


def split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(training scans, held-out scans, training labels, held-out labels); scans are uint8 (n, 8, 8), ink = 255."""
    digits = load_digits()
    scans = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    return train_test_split(scans, labels, test_size=0.25, stratify=labels, random_state=SEED)


def inputs(scans: np.ndarray) -> torch.Tensor:
    """Scans as the network's input, (n, 1, 32, 32)."""
    return torch.from_numpy(np.concatenate([images.preprocess_digit(Image.fromarray(scan)) for scan in scans]))


def jitter(x: torch.Tensor) -> torch.Tensor:
    """Each picture under its own random affine map: up to 12 degrees, 15 % shear, 12 % scale, 2 pixels of shift."""

    def uniform(bound: float) -> torch.Tensor:
        return (2 * torch.rand(len(x)) - 1) * bound

    angle, shear = uniform(math.radians(12)), uniform(0.15)
    across, down = 1 + uniform(0.12), 1 + uniform(0.12)
    first = torch.stack([across * angle.cos(), shear - angle.sin(), uniform(2 / 16)], dim=1)
    second = torch.stack([angle.sin(), down * angle.cos(), uniform(2 / 16)], dim=1)
    grid = F.affine_grid(torch.stack([first, second], dim=1), list(x.shape), align_corners=False)
    # grid_sample fills with 0 from outside the picture; 0 has to mean "no ink" while it does.
    return F.grid_sample(x - BACKGROUND, grid, align_corners=False) + BACKGROUND


def train(x: torch.Tensor, labels: torch.Tensor) -> LeNet5:
    """AdamW under a one-cycle schedule, cross-entropy."""
    net = LeNet5()
    optimiser = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = math.ceil(len(x) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, epochs=EPOCHS, steps_per_epoch=steps)
    for epoch in range(EPOCHS):
        total = 0.0
        for chosen in torch.randperm(len(x)).split(BATCH):
            loss = F.cross_entropy(net(jitter(x[chosen])), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(chosen)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3d}  loss {total / len(x):.4f}", flush=True)
    return net.eval()


@torch.no_grad()
def probabilities(net: LeNet5, scans: np.ndarray) -> np.ndarray:
    return net(inputs(scans)).softmax(dim=1).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description="Train LeNet-5 on scikit-learn's handwritten digits.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)

    train_scans, heldout_scans, train_labels, heldout_labels = split()
    net = train(inputs(train_scans), torch.from_numpy(train_labels).long())
    for part, scans, labels in [("train", train_scans, train_labels), ("held-out", heldout_scans, heldout_labels)]:
        right = int((probabilities(net, scans).argmax(axis=1) == labels).sum())
        print(f"{part:8s}  {right} of {len(labels)} right, {100 * right / len(labels):.2f} %")

    np.savez(out / "lenet5_digits.npz", **{name: w.numpy() for name, w in net.state_dict().items()})
    np.savez_compressed(out / "heldout.npz", scans=heldout_scans, labels=heldout_labels)
    seven = heldout_scans[heldout_labels == 7][17]  # one that people read easily, too
    magnified = Image.fromarray(255 - seven).resize((128, 128), Image.Resampling.NEAREST)
    magnified.save(out / "digit_7.png", optimize=True)


if __name__ == "__main__":
    main()
