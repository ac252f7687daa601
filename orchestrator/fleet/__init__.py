"""Devices: enrolment, sessions, leases, measurements."""
