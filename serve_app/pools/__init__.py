"""The engines' side: vLLM replicas, the router before them, and what is known of how they are doing."""
