"""Evaluation: what a model or an artifact amounts to, read off the thing itself."""
