"""Evaluation in batches: Ray Data hands problems to processes that own an engine each; the lines are the usual ones."""
