"""Delivery of releases to selected devices."""
