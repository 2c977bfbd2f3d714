"""``python -m mobile``: the command ``cbpnet-mobile`` where its script is not on the path."""

from mobile.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main(prog_name="cbpnet-mobile")
