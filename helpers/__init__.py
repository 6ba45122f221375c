"""What the notebooks import, and the one importable copy of the code that they teach.

Each module imports only from those named before it: injected, files, machine, parameters, phantom,
planted, preprocessing, folds, alignment, lookalikes, folder, networks, trunk, fast, recipes, gan,
training, sampling, judge, copies, measures, preparation, intervals, verdict, classifiers, bundled,
baseline, leaks, plots, drawings, interactive, exercises.
"""

import os

# What TensorFlow reads while it loads, in this process and in those that it starts. It turns
# oneDNN's kernels on by itself only where the processor has AVX-512, though they were faster for
# these networks on one without it, too; and as other kernels give other bits, the same notebook
# must have the same ones by hand and by command. glibc, which raises its threshold by itself,
# keeps a tenth of a gigabyte that nothing uses.
for _name, _value in (
    ("TF_ENABLE_ONEDNN_OPTS", "1"),
    ("TF_CPP_MIN_LOG_LEVEL", "3"),
    ("MALLOC_MMAP_THRESHOLD_", str(2**24)),
):
    os.environ.setdefault(_name, _value)

__version__ = "0.1.0"
