"""The course's plumbing, and the one importable copy of the code that the notebooks teach.

Thirteen rooms, each importing only from those named before it: runtime, phantom, dataset, networks,
training, sampling, audit, statistics, evaluation, exercises, plots, course, study.
"""

__version__ = "0.1.0"
