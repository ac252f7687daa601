"""The ``fleetfit`` command: one file a noun."""
