"""Samplers: which candidate next."""
