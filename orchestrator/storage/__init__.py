"""State that survives: SQL tables, migrations, and blobs by hash. The only package that sees SQL."""
