"""A discriminator for the generator of haemorrhages, so that a training can begin from both.

    python data/pretrained/discriminator.py

The generator's own was not kept. This one is trained from new weights, while the generator stays as
it is, and is stored like it, its kernels in half precision. `discriminator.json` says how well it
tells fresh slices from generated ones. Needs the prepared slices of a run of the quick profile.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np
from make import halve

from helpers import files, machine

STEPS, SEED, NAME, FRESH = 300, 2019, "haemorrhage", 1000


def main() -> None:
    """Train, shrink, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, default=files.PROJECT / "runs" / "quick")
    asked = parser.parse_args()
    machine.setup()
    import keras
    import tensorflow as tf

    from helpers import fast, gan, networks, preprocessing, recipes, sampling, training

    card = files.read_json(sampling.PRETRAINED / "generators.json")["generators"][NAME]
    images, _ = preprocessing.load_prepared(asked.run).part("train", card["label"])
    if machine.fingerprint(images) != card["trained_on"]:
        sys.exit(f"{asked.run} holds other slices than the generator was trained on.")
    recipe = recipes.choose_recipe(card["recipe"]["name"])
    machine.seed_everything(SEED)
    generator = fast.speed_up(sampling.load_generator(sampling.PRETRAINED / f"{NAME}.h5"))
    plain = networks.build_discriminator(dropout=recipe.dropout)
    discriminator = fast.speed_up(plain)
    weights = discriminator.trainable_variables
    optimizer = gan.Adam(recipe.discriminator_learning_rate, recipe.beta_1)
    optimizer.build(weights)
    critic = keras.Model(discriminator.inputs, discriminator.get_layer("logit").output)

    @tf.function(reduce_retracing=True)
    def train_step(real, seed):
        with tf.GradientTape() as tape:
            losses = gan.gan_losses(generator, critic, real, seed, recipe)
        optimizer.apply(tape.gradient(losses["discriminator_loss"], weights), weights)

    for step in range(STEPS):
        batch = training.batch_of(step, len(images), training.BATCH_SIZE, SEED)
        train_step(tf.gather(tf.constant(images), batch), tf.constant([SEED, step]))
    plain.set_weights(discriminator.get_weights())
    target = sampling.PRETRAINED / "discriminator.h5"
    with files.atomic_write(target.with_suffix(".full.h5")) as temporary:
        plain.save(temporary)
    with files.atomic_write(target) as temporary:
        halve(target.with_suffix(".full.h5"), temporary)
    target.with_suffix(".full.h5").unlink()
    plain.load_weights(target)
    fresh, labels = preprocessing.fresh_slices(FRESH, machine.derive_seed(SEED, "fresh"))
    latent = sampling.draw_latent(FRESH // 2, machine.derive_seed(SEED, "fresh"))
    shown = fresh[labels == card["label"]], generator(latent, training=False).numpy()
    output = {
        name: float(np.mean(plain(each, training=False)))
        for name, each in zip(("real", "generated"), shown, strict=True)
    }
    files.write_json(
        target.with_suffix(".json"),
        {
            "command": "python data/pretrained/discriminator.py",
            "versions": machine.versions(),
            "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
            "of": NAME,
            "steps": STEPS,
            "seed": SEED,
            "recipe": card["recipe"]["name"],
            "trained_on": card["trained_on"],
            "mean_output_on_fresh": output,
        },
    )


if __name__ == "__main__":
    main()
