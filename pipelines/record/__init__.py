"""A run's folder: the record of every row, its checkpoints, the replies of a model, and the manifest."""
