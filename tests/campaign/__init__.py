"""A campaign of hostile files and of faults: `python -m tests.campaign`."""
