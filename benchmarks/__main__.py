"""``python -m benchmarks``; the processes that it starts import this file, and nothing else."""

if __name__ == "__main__":
    from benchmarks.cli import main

    main()
