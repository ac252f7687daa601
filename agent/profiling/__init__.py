"""Measurements: protocol, statistics, the worker process, and what guards them."""
