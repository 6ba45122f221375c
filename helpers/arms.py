"""The arms of a comparison, and the gains between them: one table of each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One arm: its name for readers, and how the classifier *bundled* is fitted."""

    title: str
    views: int = 0  # of each image, the image itself among them; 0: fitted as the arm in `like`
    added: bool = False  # generated images, or true new ones, are given to it
    like: str = ""  # another arm that is fitted in the same way, on other images


# In the order of tables and pictures.
ARMS = {
    "original": Kind("original", 1),
    "gan_only": Kind("GAN only", 1, added=True),
    "original_gan": Kind("original + GAN", 1, added=True),
    "classic": Kind("classic augmentation", 4),
    "classic_gan": Kind("classic + GAN", 4, added=True),
    # As classic + GAN, with the labels of the generated images permuted.
    "control_shuffled": Kind("control: shuffled labels", like="classic_gan", added=True),
    # The real images, and the same ones in the GAN's place.
    "duplicated": Kind("original, duplicated", like="original_gan", added=True),
    "classic_long": Kind("classic long", 16),  # as much effort as with GAN images
    "oracle": Kind("classic + true new images", 4, added=True),
    "mixup": Kind("classic + mixup", 4),  # mixtures of two real images in the GAN's place
    # On a quarter of the real images. The oracle has the other three quarters.
    "part": Kind("a quarter: classic", 4),
    "part_long": Kind("a quarter: classic long", 16),
    "part_gan": Kind("a quarter: classic + GAN", 4, added=True),
    "oracle_part": Kind("a quarter: classic + true new images", 4, added=True),
}
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
