"""``python -m mobile``: the command ``cbpnet-mobile`` where its script is not on the path."""

import os.path
import sys

__all__: list[str] = []

if __name__ == "__main__":
    # `-m` has put the working directory first on the path, where anything may lie. It goes before
    # anything else is imported, unless the program lies there. (`os` is loaded already.)
    root = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    if not sys.flags.safe_path and sys.path[0] != root:
        del sys.path[0]

    from mobile.cli import main

    main(prog_name="cbpnet-mobile")
