"""Compression as a library: PyTorch in, artifact out."""
