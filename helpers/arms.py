"""The arms of a comparison, and the gains between them: one table of each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One arm: its name for readers, and what the classifier is fitted on."""

    title: str
    meaning: str
    views: int = 0  # of each image with *bundled*, the image itself among them; 0: it has no such
    added: bool = False  # generated images, or true new ones, are given to it
    like: str = ""  # the arm that *bundled* fits in the same way, on other images


# In the order of tables and pictures.
ARMS = {
    "original": Kind("original", "the real images as they are", 1),
    "gan_only": Kind("GAN only", "generated images in place of the real ones", 1, True),
    "original_gan": Kind("original + GAN", "real and generated images in one set", 1, True),
    "classic": Kind("classic augmentation", "real images: turned, moved, sheared, mirrored", 4),
    "classic_gan": Kind("classic + GAN", "as classic, with generated images beside them", 4, True),
    "control_shuffled": Kind(
        "control: shuffled labels", "as classic + GAN, with the labels of the generated shuffled",
        like="classic_gan", added=True,
    ),
    "duplicated": Kind(
        "original, duplicated", "the real images, and the same ones in the GAN's place",
        like="original_gan", added=True,
    ),
    "classic_long": Kind(
        "classic long", "more steps or views: as much effort as with GAN images", 16
    ),
    "oracle": Kind("classic + true new images", "what a perfect GAN would bring", 4, True),
    "mixup": Kind("classic + mixup", "mixtures of two real images in the GAN's place", 4),
    "part": Kind("a quarter: classic", "as classic, on a quarter of the real images", 4),
    "part_long": Kind("a quarter: classic long", "the same effort as with GAN images", 16),
    "part_gan": Kind("a quarter: classic + GAN", "the GAN has seen this quarter alone", 4, True),
    "oracle_part": Kind(
        "a quarter: classic + true new images", "the other three quarters in the GAN's place", 4,
        True,
    ),
}  # fmt: skip
IN_NOTEBOOK = tuple(ARMS)[:8]  # those that a user may name: notebook 05 has one split and no oracle
WHOLE = ("classic", "classic_long", "classic_gan", "mixup")  # of a study of folds
QUARTER = ("part", "part_long", "part_gan", "oracle_part")
OF_A_SET = ("classic", "classic_long", "classic_gan", "oracle", "mixup")  # a simulated one
WITHOUT_GAN = tuple(name for name in (*WHOLE, *QUARTER) if not name.endswith("_gan"))

# The gains of a study, by what they compare.
GAIN_TITLES = {
    "exposure": "GAN, each real image as often",
    "compute": "GAN, against as much effort",
    "oracle": "true new images, against the stronger baseline",
    "stronger": "GAN, against the stronger baseline",
    "missing": "true new images, against GAN",
    "long": "more views instead",
    "mixup": "mixup instead",
    "exposure, shifted": "GAN, on shifted slices",
    "oracle, shifted": "true new images, on shifted slices",
}
SECONDARY = {"long": ("classic_long", "classic"), "mixup": ("mixup", "classic")}


def compare(gan: str, gan_beside_true: str, true: str, stronger: str) -> dict[str, tuple[str, str]]:
    """Which two arms each gain of the rule compares: the first minus the second.

    Args:
        gan: The arm with GAN images on all real images.
        gan_beside_true: The arm with GAN images on the same real images as `true`.
        true: The arm with true new images.
        stronger: The stronger baseline on the same real images as `true`.
    """
    return {
        "exposure": (gan, "classic"),
        "compute": (gan, "classic_long"),
        "oracle": (true, stronger),
        "stronger": (gan_beside_true, stronger),
        "missing": (true, gan_beside_true),
    }
