"""Data sets, their images as a backbone wants them, and class-incremental task streams."""

from cbpnet.data.catalogue import DATASETS, load_dataset
from cbpnet.data.dataset import Dataset
from cbpnet.data.images import ImageSource
from cbpnet.data.preprocess import load_batch, normalise, prepare
from cbpnet.data.stream import Task, TaskStream, make_stream

__all__ = [
    "DATASETS",
    "Dataset",
    "ImageSource",
    "Task",
    "TaskStream",
    "load_batch",
    "load_dataset",
    "make_stream",
    "normalise",
    "prepare",
]
