"""The check that a Raspberry Pi learns what this machine learns: see docs/aarch64.md."""
