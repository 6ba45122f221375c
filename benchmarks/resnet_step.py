"""Speed of a step of the classifier, ResNet-50 at 32 pixels in batches of 32: part of `make bench`.

The course's step is what `classifiers.fit` makes: `train_on_batch` of the whole network. The rival
is the same network in PyTorch with the same optimizer, channels-last, in float32 or bfloat16, eager
or compiled. All take turns, each in one process of all threads, as the course fits its classifiers.
PyTorch takes part where it is installed: `.venv/bin/pip install -e '.[bench]'`.
"""

import argparse
import importlib.util
import statistics
from collections.abc import Callable

import numpy as np
from side_by_side import add_keep, compare, describe_machine, ratio, serve, write

BATCH, SIZE = 32, 32
PYTORCH = ("torch_float32", "torch_bfloat16", "torch_compiled_float32", "torch_compiled_bfloat16")
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, first stride


def course() -> Callable[[int], None]:
    """A step of the course's classifier, trained whole."""
    from helpers import classifiers

    classifier = classifiers.build_classifier("resnet50")
    images, labels = draw()

    def step(_: int) -> None:
        classifier.learner.train_on_batch(images, labels)

    return step


def draw() -> tuple[np.ndarray, np.ndarray]:
    """One batch of noise, with labels: how fast a step is does not depend on the images."""
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (BATCH, SIZE, SIZE, 1)).astype("float32")
    return images, rng.integers(0, 2, BATCH)


def build_pytorch():
    """Keras' ResNet-50 in PyTorch, on three equal channels, with the course's head."""
    from torch import nn

    def unit(inside: int, outside: int, kernel: int, stride: int = 1) -> list[nn.Module]:
        padding = kernel // 2
        convolution = nn.Conv2d(inside, outside, kernel, stride, padding)
        return [convolution, nn.BatchNorm2d(outside, eps=1.001e-5, momentum=0.2)]

    class Block(nn.Module):
        def __init__(self, inside: int, width: int, stride: int, shortcut: bool) -> None:
            super().__init__()
            self.way = nn.Sequential(
                *unit(inside, width, 1, stride), nn.ReLU(), *unit(width, width, 3), nn.ReLU(),
                *unit(width, 4 * width, 1),
            )  # fmt: skip
            self.shortcut = nn.Sequential(*(unit(inside, 4 * width, 1, stride) if shortcut else []))

        def forward(self, x):
            return nn.functional.relu(self.way(x) + self.shortcut(x))

    body, inside = [*unit(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for width, blocks, stride in STAGES:
        for k in range(blocks):
            body.append(Block(inside, width, stride if k == 0 else 1, k == 0))
            inside = 4 * width
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(inside, 2)
    return nn.Sequential(*body, *head)


def pytorch(name: str) -> Callable[[int], None]:
    """A step of the rival."""
    import torch

    torch.manual_seed(0)
    network = build_pytorch().to(memory_format=torch.channels_last)
    optimizer = torch.optim.RMSprop(network.parameters(), 1e-3, alpha=0.9, eps=1e-7)
    forward = torch.compile(network) if "compiled" in name else network
    images, labels = (torch.tensor(x) for x in draw())
    images = images.permute(0, 3, 1, 2).repeat(1, 3, 1, 1)
    images = images.contiguous(memory_format=torch.channels_last)
    half = torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in name)

    def step(_: int) -> None:
        with half:
            answers = forward(images).float()
        loss = torch.nn.functional.cross_entropy(answers, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def work(name: str, threads: int) -> None:
    """In a process of its own: the steps of one contender."""
    if not name.startswith("torch"):
        serve(course())
        return
    import torch

    torch.set_num_threads(threads)
    serve(pytorch(name))


def main() -> None:
    """Measure, print the ratios, and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=5, help="steps per program and round")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=0, help=argparse.SUPPRESS)
    add_keep(parser)
    asked = parser.parse_args()
    if asked.worker:
        work(asked.worker, asked.threads)
        return
    if not importlib.util.find_spec("torch"):
        print("ResNet-50: PyTorch is not installed, so there is nothing to compare with.")
        return
    found, seconds = {}, {}
    ours = [__file__, "--worker", "course"]
    for rival in PYTORCH:
        pair = compare(ours, [__file__, "--worker", rival], asked.rounds, asked.steps, (1,))
        if pair:
            found[f"vs_{rival}"] = ratio(pair[1], pair[0])
            medians = map(statistics.median, pair)
            seconds[rival] = dict(zip(("course", "rival"), medians, strict=True))
    found["vs_pytorch_best"] = min(found.values(), key=lambda spread: spread["median"])
    for name, spread in found.items():
        print(f"{name:<30}{spread['median']:.2f} ({spread['min']:.2f} to {spread['max']:.2f})")
    results = {
        "resnet_step": found,
        "resnet_step_seconds": seconds,
        "resnet_step_machine": describe_machine() | {"rounds": asked.rounds, "steps": asked.steps},
    }
    print(f"Kept in {write(results, asked.keep)}")


if __name__ == "__main__":
    main()
