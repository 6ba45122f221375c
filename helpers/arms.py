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
# Those that a user may name: notebook 05 has one split and no oracle.
IN_NOTEBOOK = tuple(ARMS)[: list(ARMS).index("oracle")]
WHOLE = ("classic", "classic_long", "classic_gan", "mixup")  # of a study of folds
QUARTER = ("part", "part_long", "part_gan", "oracle_part")
OF_A_SET = ("classic", "classic_long", "classic_gan", "oracle", "mixup")  # a simulated one
WITHOUT_GAN = tuple(name for name in (*WHOLE, *QUARTER) if not name.endswith("_gan"))

SECONDARY = {"long": ("classic_long", "classic"), "mixup": ("mixup", "classic")}


def gain_titles(folds: bool) -> dict[str, str]:
    """What each gain of a study with *bundled* compares, for readers.

    Args:
        folds: Whether the study has folds of one set, where true new images are measured at a
            quarter of the images. In a study of simulated sets, `stronger` is `exposure` again, and
            has no title.
    """
    quarter = "at a quarter: " if folds else ""
    titles = {
        "exposure": "GAN images − classic",
        "compute": "GAN images − classic long",
        "oracle": f"{quarter}true new images − classic",
        "stronger": f"{quarter}GAN images − classic",
        "missing": f"{quarter}true new images − GAN images",
        "long": "classic long − classic",
        "mixup": "mixup − classic",
        "exposure, shifted": "on shifted slices: GAN images − classic",
        "compute, shifted": "on shifted slices: GAN images − classic long",
        "oracle, shifted": "on shifted slices: true new images − classic",
    }
    return titles if folds else {k: title for k, title in titles.items() if k != "stronger"}


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
