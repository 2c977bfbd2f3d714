from .catalogue import DATASETS as DATASETS, load_dataset as load_dataset
from .dataset import Dataset as Dataset
from .images import ImageSource as ImageSource
from .long_stream import LongStream as LongStream, make_long_stream as make_long_stream
from .pixels import (
    load_batch as load_batch,
    load_image as load_image,
    normalise as normalise,
    prepare as prepare,
)
from .preprocessing import Preprocessing as Preprocessing
from .stream import Task as Task, TaskStream as TaskStream, make_stream as make_stream
