"""Protobuf messages to domain objects and back. What comes from outside is checked and made inert here."""
