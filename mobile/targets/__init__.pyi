from .catalogue import (
    TARGETS as TARGETS,
    Option as Option,
    Sdk as Sdk,
    Target as Target,
)
from .resolved import ResolvedTarget as ResolvedTarget, resolve_target as resolve_target
