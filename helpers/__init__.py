"""What the notebooks import, and the one importable copy of the code that they teach.

`README.md` beside this file says what each module does, and where to change what.

Each module imports only from those named before it: injected, files, machine, arms, parameters,
phantom, planted, preprocessing, folds, alignment, lookalikes, folder, networks, trunk, fast,
recipes, gan, training, sampling, judge, copies, measures, preparation, intervals, verdict,
classifiers, bundled, baseline, leaks, plots, drawings, interactive, exercises.
"""

__version__ = "0.1.0"
