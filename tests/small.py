"""Networks of the same kinds of layers as the course's, that train in milliseconds."""

import keras
from keras import layers

from helpers import networks


def discriminator(dropout: float = 0.4) -> keras.Model:
    image = x = keras.Input((32, 32, 1))
    x = networks.normalise_and_activate(layers.Conv2D(4, 4, strides=4)(x))
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    x = layers.Dense(1, dtype="float32", name="logit")(x)
    return keras.Model(image, layers.Activation("sigmoid", dtype="float32")(x))


def generator(latent_dim: int = 100) -> keras.Model:
    latent = x = keras.Input((latent_dim,))
    x = networks.normalise_and_activate(layers.Dense(64)(x))
    x = layers.Reshape((8, 8, 1))(x)
    x = networks.normalise_and_activate(layers.Conv2DTranspose(2, 4, strides=4)(x))
    x = layers.Conv2D(1, 3, padding="same", activation="tanh", dtype="float32")(x)
    return keras.Model(latent, x)


def use(monkeypatch=None) -> None:
    """Put them in place of the course's: for good, or until the test ends."""
    for name, build in (("build_discriminator", discriminator), ("build_generator", generator)):
        if monkeypatch is None:
            setattr(networks, name, build)
        else:
            monkeypatch.setattr(networks, name, build)
