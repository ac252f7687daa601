"""Export: from a PyTorch model to the file that a device runs."""
