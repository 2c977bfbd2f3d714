"""CBPNet: class-incremental learning on a frozen vision transformer, in plain PyTorch."""
