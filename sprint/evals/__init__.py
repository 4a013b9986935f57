"""Evaluation: sample -> solver -> scorer -> one JSON line -> report.

Methods differ only in the model behind the endpoint: the solver, the sampling, the samples and the scorers are shared,
so a difference in the report is the method's.
"""
