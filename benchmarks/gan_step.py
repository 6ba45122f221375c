"""Speed of a GAN step, side by side with what people use: `make bench`.

Every rival trains the same two networks on batches of 16 with the same loss, in processes that stay
alive and take turns with the course's, so that what else the machine does falls on both. Each is
tried in two arrangements, both GANs one after the other in a process of all threads, or at once in
two processes of one thread; the better one counts. The rival "tutorial_float32" is the course's own
step as a tutorial would write it: in float32, with Keras' layers and Adam, not the fused ones.
"xla" and "four_at_once" are the course's step compiled by XLA, and four of it in one call: what
the course does not do on a processor, so that it shows if it should.
PyTorch takes part where it is installed: `.venv/bin/pip install -e '.[bench]'`.
"""

import argparse
import importlib.util
import statistics
from collections.abc import Callable

import numpy as np
from side_by_side import Contender, add_keep, compare, describe_machine, ratio, serve, write

from helpers.machine import XLA, choose_precision

BATCH, LATENT, PENALTY = 16, 100, 10.0
PRODUCTS = 5 * 2 * 2048**3 / 1e9  # of the peak's step, in 1e9 multiplications and additions
TENSORFLOW = ("tutorial_float32", "keras_2019", "xla", "four_at_once")
AT_ONCE = 4
PYTORCH = ("torch_float32", "torch_bfloat16", "torch_compiled_float32", "torch_compiled_bfloat16")


def gigaflop() -> float:
    """Multiplications and additions of one step without penalty, in 1e9, from the layers' sizes.

    Those of the convolutions' sums, which is what the rivals compute. `fast.winograd` needs
    fewer, so that the course's share of the peak may be more than 1.

    Forward and both gradients cost the same each. The generator: one forward, two gradients. The
    discriminator: forward for both kinds, both gradients for both kinds, and once more the one
    towards its input, for the generator.
    """
    areas = {"generator": [(16, 25), (16, 16), (32, 25), (32, 25)], "discriminator": [(16, 16)]}
    areas["discriminator"] += [(8, 16), (4, 16)]
    wide = {k: sum(2 * e * e * t * 128 * 128 for e, t in v) for k, v in areas.items()}
    generator = wide["generator"] + 2 * 128 * (25 * 32 * 32 + LATENT * 256)
    discriminator = wide["discriminator"] + 2 * 128 * 9 * 32 * 32
    return BATCH * (3 * generator + 7 * discriminator) / 1e9


# --- Contenders: each returns a function that makes one step -------------------------------------


def course(
    penalty: float, precision: str, fused: bool = True, at_once: int = 1
) -> Callable[[int], None]:
    """The step as taught: one pass, two tapes, with the precision measured fastest here.

    Not `fused`, layers and Adam are Keras' own, as in a tutorial's step. `at_once`
    over 1 makes every so many steps in one call, and the calls between do nothing.
    """
    import keras
    import tensorflow as tf

    from helpers import fast, gan, networks, recipes, training

    xla = precision.endswith(XLA)
    keras.config.set_dtype_policy(precision.split("+")[0])
    pair = networks.build_generator(), networks.build_discriminator()
    pair = [fast.speed_up(network, precision) if fused else plain(network) for network in pair]
    adam = gan.Adam if fused else keras.optimizers.Adam
    optimizers = [adam(2e-4, 0.5) for _ in pair]
    for optimizer, network in zip(optimizers, pair, strict=True):
        optimizer.build(network.trainable_variables)
    recipe = recipes.choose_recipe("paper", {"penalty_weight": penalty})
    train_step = gan.make_train_step(*pair, *optimizers, recipe, xla=xla)
    images = tf.random.stateless_uniform((72, 32, 32, 1), [1, 2], -1, 1)

    @tf.function
    def some_steps(batches, seeds):
        for j in tf.range(at_once):
            train_step(batches[j], seeds[j])
        return seeds

    def step(k: int) -> None:
        batch = tf.gather(images, training.batch_of(k, 72, BATCH, 0))
        train_step(batch, tf.constant([0, k]))["generator_loss"].numpy()

    def step_of_some(k: int) -> None:
        if k % at_once == 0:
            steps = range(k, k + at_once)
            batches = tf.gather(images, [training.batch_of(j, 72, BATCH, 0) for j in steps])
            some_steps(batches, tf.constant([[0, j] for j in steps])).numpy()

    return step if at_once == 1 else step_of_some


def plain(network):
    """A clone with Keras' own layers, as the rivals have them."""
    import keras

    def clone(layer):
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        kind = keras.layers.BatchNormalization if normalises else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(network, clone_function=clone)


def keras_2019(penalty: float, _: str) -> Callable[[int], None]:
    """`predict`, then `train_on_batch` for real, generated, and the stacked model."""
    import keras
    import tensorflow as tf

    from helpers import networks

    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (72, 32, 32, 1)).astype("float32")
    made = networks.build_generator(), networks.build_discriminator()
    generator, discriminator = map(plain, made)

    class Penalty(keras.layers.Layer):
        """As the loops of that time had it: a layer that adds its loss to the model."""

        def call(self, both):
            real, fake, answer = both
            weight = tf.random.uniform((BATCH, 1, 1, 1))
            mixed = weight * real + (1.0 - weight) * fake
            with tf.GradientTape() as tape:
                tape.watch(mixed)
                logits = critic(mixed, training=True)
            slopes = tf.sqrt(tf.reduce_sum(tape.gradient(logits, mixed) ** 2, [1, 2, 3]) + 1e-12)
            self.add_loss(penalty * tf.reduce_mean((slopes - 1.0) ** 2))
            return answer

    critic = keras.Model(discriminator.inputs, discriminator.get_layer("logit").output)
    if penalty:
        real, fake = keras.Input((32, 32, 1)), keras.Input((32, 32, 1))
        judge = keras.Model(
            [real, fake], [Penalty()([real, fake, discriminator(real)]), discriminator(fake)]
        )
        judge.compile(keras.optimizers.Adam(2e-4, 0.5), loss=["binary_crossentropy"] * 2)
    else:
        discriminator.compile(keras.optimizers.Adam(2e-4, 0.5), loss="binary_crossentropy")
    frozen = keras.Model(discriminator.inputs, discriminator.outputs)
    frozen.trainable = False
    latent = keras.Input((LATENT,))
    stacked = keras.Model(latent, frozen(generator(latent)))
    stacked.compile(keras.optimizers.Adam(2e-4, 0.5), loss="binary_crossentropy")
    discriminator.trainable = True
    ones, zeros = np.ones((BATCH, 1), "float32"), np.zeros((BATCH, 1), "float32")

    def step(_: int) -> None:
        batch = images[rng.integers(0, 72, BATCH)]
        noise = rng.standard_normal((BATCH, LATENT)).astype("float32")
        fake = generator.predict(noise, verbose=0)
        if penalty:
            judge.train_on_batch([batch, fake], [ones, zeros])
        else:
            discriminator.train_on_batch(batch, ones)
            discriminator.train_on_batch(fake, zeros)
        stacked.train_on_batch(noise, ones)

    return step


def pytorch(penalty: float, name: str) -> Callable[[int], None]:
    """The same networks in PyTorch: channels-last, eager or compiled, float32 or autocast."""
    import torch
    from torch import nn

    torch.manual_seed(0)

    def block(layer: nn.Module) -> list[nn.Module]:
        width = getattr(layer, "out_channels", 128)
        return [layer, nn.BatchNorm2d(width, momentum=0.2, eps=1e-3), nn.LeakyReLU(0.01)]

    generator = nn.Sequential(
        nn.Linear(LATENT, 128 * 256), nn.BatchNorm1d(128 * 256, momentum=0.2), nn.LeakyReLU(0.01),
        nn.Unflatten(1, (128, 16, 16)),
        *block(nn.Conv2d(128, 128, 5, padding=2)),
        *block(nn.ConvTranspose2d(128, 128, 4, 2, padding=1)),
        *block(nn.Conv2d(128, 128, 5, padding=2)), *block(nn.Conv2d(128, 128, 5, padding=2)),
        nn.Conv2d(128, 1, 5, padding=2), nn.Tanh(),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    discriminator = nn.Sequential(
        *block(nn.Conv2d(1, 128, 3, padding=1)), *block(nn.Conv2d(128, 128, 4, 2, padding=1)),
        *block(nn.Conv2d(128, 128, 4, 2, padding=1)), *block(nn.Conv2d(128, 128, 4, 2, padding=1)),
        nn.Flatten(), nn.Dropout(0.4), nn.Linear(2048, 1),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    assert sum(p.numel() for p in generator.parameters()) == 4_870_785
    assert sum(p.numel() for p in discriminator.parameters()) == 791_169
    # The penalty's gradient of a gradient cannot be compiled: there, networks stay eager.
    compiled = "compiled" in name
    draw = torch.compile(generator) if compiled else generator
    critic = torch.compile(discriminator) if compiled and not penalty else discriminator
    optimizers = [
        torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999))
        for network in (generator, discriminator)
    ]
    entropy = nn.functional.binary_cross_entropy_with_logits
    images = (torch.rand(72, 1, 32, 32) * 2 - 1).to(memory_format=torch.channels_last)
    half = torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in name)

    def step(_: int) -> None:
        real = images[torch.randint(0, 72, (BATCH,))]
        with half:
            fake = draw(torch.randn(BATCH, LATENT))
            on_real, on_fake = critic(real).float(), critic(fake.detach()).float()
            loss = entropy(on_real, torch.ones(BATCH, 1)) + entropy(on_fake, torch.zeros(BATCH, 1))
            if penalty:
                weight = torch.rand(BATCH, 1, 1, 1)
                mixed = (weight * real + (1 - weight) * fake.detach().float()).requires_grad_()
                answer = critic(mixed).float().sum()
                slopes = torch.autograd.grad(answer, mixed, create_graph=True)[0]
                lengths = (slopes.float().square().sum((1, 2, 3)) + 1e-12).sqrt()
                loss = loss + penalty * (lengths - 1).square().mean()
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        for parameter in discriminator.parameters():
            parameter.requires_grad_(False)
        with half:
            fooled = entropy(critic(fake).float(), torch.ones(BATCH, 1))
        optimizers[0].zero_grad()
        fooled.backward()
        optimizers[0].step()
        for parameter in discriminator.parameters():
            parameter.requires_grad_(True)

    return step


def matrix_peak(precision: str) -> Callable[[int], None]:
    """One product of two square matrices of 2,048, the fastest thing the cores do."""
    import tensorflow as tf

    kind = tf.bfloat16 if "bfloat16" in precision else tf.float32
    a = tf.cast(tf.random.stateless_normal((2048, 2048), [1, 2]), kind)
    product = tf.function(lambda: tf.reduce_sum(tf.cast(a @ a, tf.float32)))
    return lambda _: [product().numpy() for _ in range(5)] and None  # five: `PRODUCTS`


# --- Workers and the comparison ------------------------------------------------------------------


def work(name: str, penalty: float, threads: int, precision: str) -> None:
    """In a process of its own: the steps of one contender."""
    if name.startswith("torch"):
        import torch

        torch.set_num_threads(threads)
        serve(pytorch(penalty, name))
        return
    import tensorflow as tf

    if threads == 1:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    if name == "peak":
        serve(matrix_peak(precision))
    elif name == "keras_2019":
        serve(keras_2019(penalty, precision))
    elif name == "tutorial_float32":
        serve(course(penalty, "float32", fused=False))
    elif name == "xla":
        serve(course(penalty, precision.split("+")[0] + XLA))
    elif name == "four_at_once":
        serve(course(penalty, precision, at_once=AT_ONCE))
    else:
        serve(course(penalty, precision))


def main() -> None:
    """Measure without and with penalty, print the table, and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument(
        "--steps", type=int, default=4, help="steps per program and round, a multiple of 4"
    )
    parser.add_argument("--long", type=int, default=1000, help="steps that are timed in one go")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--penalty", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="auto", help=argparse.SUPPRESS)
    add_keep(parser)
    asked = parser.parse_args()
    if asked.worker:
        work(asked.worker, asked.penalty, asked.threads, asked.precision)
        return
    if asked.steps % AT_ONCE:
        parser.error(f"--steps {asked.steps}: give a multiple of {AT_ONCE}")
    precision = choose_precision(asked.precision)
    step: dict[str, dict] = {}
    seconds: dict[str, dict] = {}
    rivals = TENSORFLOW + (PYTORCH if importlib.util.find_spec("torch") else ())

    def command(name: str, penalty: float) -> list[str]:
        return [__file__, "--worker", name, "--penalty", str(penalty), "--precision", precision]

    for penalty, suffix in ((0.0, ""), (PENALTY, "_penalty")):
        print(f"\n{'with' if penalty else 'without'} gradient penalty, {precision}")
        found = {}
        for rival in rivals + (() if penalty else ("peak",)):
            commands = command("course", penalty), command(rival, penalty)
            if pair := compare(*commands, asked.rounds, asked.steps):
                found[rival] = pair
        for rival in TENSORFLOW:
            step[f"vs_{rival}{suffix}"] = ratio(*reversed(found[rival]))
        torch_ratios = [ratio(*reversed(found[name])) for name in PYTORCH if name in found]
        if torch_ratios:
            step[f"vs_pytorch_best{suffix}"] = min(torch_ratios, key=lambda r: r["median"])
        if not penalty:
            ours, products = found.pop("peak")
            done, peak = [gigaflop() / s for s in ours], [PRODUCTS / s for s in products]
            step["share_of_peak"] = ratio(done, peak)
        seconds[f"seconds{suffix}"] = {
            rival: {"course": statistics.median(ours), "rival": statistics.median(theirs)}
            for rival, (ours, theirs) in found.items()
        }
    print(f"\n{asked.long} steps without a pause")
    alone = Contender(command("course", PENALTY), 1)
    alone.run(asked.long)
    alone.stop()
    hours = alone.seconds[0] * 20_000 / 3600
    print(
        f"{alone.seconds[0]:.3f} s a step: both GANs at the paper's 10,000 steps in {hours:.1f} h"
    )
    for name, spread in step.items():
        print(f"{name:<30}{spread['median']:.2f} ({spread['min']:.2f} to {spread['max']:.2f})")
    results = {
        "gan_step": step,
        "gan_step_seconds": seconds,
        "gan_step_machine": describe_machine()
        | {"precision": precision, "gigaflop_without_penalty": gigaflop()},
        "paper_scale": {
            "measured_steps": asked.long,
            "seconds_a_step": alone.seconds[0],
            "hours_for_both_gans": hours,
        },
    }
    print(f"Kept in {write(results, asked.keep)}")


if __name__ == "__main__":
    main()
