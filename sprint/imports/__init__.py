"""Outputs of other systems, read as evaluation runs and counted by the same metrics."""
