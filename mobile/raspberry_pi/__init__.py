"""What a Raspberry Pi's owner runs: measurements of the board, a camera, and their report."""
