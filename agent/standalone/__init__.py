"""What the agent does for someone at the device, without an orchestrator: profile a model, examine the device."""
