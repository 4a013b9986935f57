"""The data edge: Ray Data around the row functions of `sprint`. Imports Ray only inside functions."""
