"""Pruning: parts of the model are removed."""
