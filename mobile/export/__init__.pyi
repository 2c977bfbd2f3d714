from .exporter import (
    Export as Export,
    ExportSettings as ExportSettings,
    export_bundle as export_bundle,
)
