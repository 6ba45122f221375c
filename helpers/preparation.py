"""Were two sets of images prepared alike? A difference here would be taken for bad images."""

import numpy as np

AIR = -0.9  # grey levels up to this are the black around a head
OPPOSED = -0.5  # correlation of two mean images that shows the one inverted
SPREADS = 3.0  # of single images, between two medians, that are worth a warning
ERRORS = 4.0  # standard errors, between two median shapes, that are worth a warning
LEAST = {"brightness": 0.1, "contrast": 0.1, "shape": 0.08}  # of 2, of 2, of 1: smaller ones pass


def find_differences(images: np.ndarray, real: np.ndarray) -> list[str]:
    """List how the preparation of the images differs from that of the real ones.

    Args:
        images, real: ``(n, size, size, 1)`` and ``(m, size, size, 1)``, -1 to 1.

    Returns:
        Sentences about inverted grey levels, brightness, contrast and squeezed shapes; none where
        both sets look alike in these.
    """
    sentences = []
    means = [x.mean(axis=0).ravel() for x in (images, real)]
    if all(mean.std() > 0.05 for mean in means) and np.corrcoef(*means)[0, 1] < OPPOSED:
        return ["Black and white are inverted in the generated images: invert them first."]
    for name, measure, words in (
        ("brightness", lambda x: x.mean(axis=(1, 2, 3)), ("darker", "brighter")),
        ("contrast", lambda x: x.std(axis=(1, 2, 3)), ("lower in contrast", "higher in contrast")),
        ("shape", _shape, ("narrower", "wider")),
    ):
        generated, usual = measure(images), measure(real)
        apart = np.median(generated) - np.median(usual)
        spread = np.median(np.abs(usual - np.median(usual))) * 1.48  # a normal standard deviation
        width = SPREADS * spread
        # Heads differ more than a squeeze changes them, so medians are compared, not single images.
        if name == "shape":
            width = ERRORS * 1.25 * spread * np.sqrt(1 / len(images) + 1 / len(real))
        if abs(apart) > max(LEAST[name], width):
            how = words[int(apart > 0)]
            sentences.append(
                f"The generated images are {how} than the real ones (median {name} "
                f"{np.median(generated):.2f}, not {np.median(usual):.2f}): prepare both alike, "
                "padded to a square and in the same grey levels, or the audit judges that."
            )
    return sentences


def _shape(images: np.ndarray) -> np.ndarray:
    """Width over height of what is not black, for each image; 1 where nothing is."""
    seen = images[..., 0] > AIR
    width, height = (seen.any(axis=axis).sum(axis=1) for axis in (1, 2))
    return np.where(height > 0, width / np.maximum(height, 1), 1.0)
