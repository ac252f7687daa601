"""The control plane: searches, fleet, releases and rollouts behind one API."""
