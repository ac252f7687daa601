"""Which candidate next: one strategy a file."""
