from .atomic import make_folder as make_folder, write_atomically as write_atomically
from .errors import InputError as InputError
from .memory import peak_rss_mb as peak_rss_mb, resident_mb as resident_mb
from .processor import cpu_name as cpu_name
from .random_streams import random_stream as random_stream
