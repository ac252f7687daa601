"""The repositories of a transaction, one a file."""
