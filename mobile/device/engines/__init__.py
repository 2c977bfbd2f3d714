"""What runs a bundle's methods: ExecuTorch with torch, or without it, behind one interface."""
