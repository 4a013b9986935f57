"""The serving edge: the engine loop behind an OpenAI-compatible endpoint, on Ray Serve and vLLM.

ingress (HTTP) -> planner (the engine loop, no model) -> vLLM replicas (the model, no loop). Importing this package
imports none of them; `app` and `run` are loaded once the command line is parsed.
"""
