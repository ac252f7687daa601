"""Who asked for which change: append-only, and chained by hashes."""
