"""Signed releases: manifest, golden inputs, the TUF repository."""
