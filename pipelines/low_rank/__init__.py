"""Low-rank factorisation: one layer becomes two thinner ones."""
