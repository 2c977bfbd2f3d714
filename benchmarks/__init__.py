"""Benchmarks: learning steps of other runtimes beside ours, and how ours grows."""
