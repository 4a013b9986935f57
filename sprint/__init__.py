"""SPRINT: reasoning models that think in parallel.

A sequential reasoning trace hides a dependency graph; pack the graph into rounds; teach a model to write the rounds;
at inference run each round's independent tasks at once (Biju, Talaei et al., NeurIPS 2025, arXiv 2506.05745).

This package holds the idea as plain data and plain Python. It does not know Ray, torch, vLLM or any HTTP client at
import time: those are the edges `pipelines`, `train` and `serve_app`.
"""

__version__ = "0.1.0"
