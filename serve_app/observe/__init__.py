"""What the service says of itself: metrics, logs, traces. It knows neither Ray nor vLLM, but for `ray_metrics`."""
