"""Runtimes as plug-ins: what loads and runs a model on this device."""
