from .closed_form import (
    LinearProbe as LinearProbe,
    NearestClassMean as NearestClassMean,
    RanPAC as RanPAC,
    Ridge as Ridge,
)
from .comparison import ComparisonProtocol as ComparisonProtocol, run_benchmark as run_benchmark
from .comparison_report import format_table as format_table, write_report as write_report
from .long_stream import (
    LongStreamProtocol as LongStreamProtocol,
    run_long_stream as run_long_stream,
)
from .long_stream_report import write_long_stream as write_long_stream
from .methods import METHODS as METHODS
from .peer_contender import PeerContender as PeerContender
from .plasticity import PairConfig as PairConfig, run_pairs as run_pairs
from .plasticity_report import write_studies as write_studies
