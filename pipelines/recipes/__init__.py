"""Ready-made recipes, as files that can be read, copied and changed."""
