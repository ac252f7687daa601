"""What runs on a device: light, and trusting signatures only."""
