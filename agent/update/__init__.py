"""Updates: verify, download, test, switch, and go back by itself."""
