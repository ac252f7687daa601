"""Energy meters as plug-ins: every figure with its source, rate and scope."""
