from .atomic import (
    final_path as final_path,
    flush_folder as flush_folder,
    make_folder as make_folder,
    real_path as real_path,
    remove_temporary as remove_temporary,
    write_atomically as write_atomically,
)
from .errors import InputError as InputError
from .memory import peak_rss_mb as peak_rss_mb, resident_mb as resident_mb
from .packages import installed_version as installed_version
from .processor import cpu_name as cpu_name
from .progress import progress_bar as progress_bar, with_progress as with_progress
from .random_streams import RandomStream as RandomStream
from .tables import markdown_table as markdown_table, plain_table as plain_table
from .text import counted as counted, listed as listed
