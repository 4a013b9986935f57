"""The HTTP side: OpenAI's API, admission, keys. It needs a planner by protocol and no Ray but for `planner_client`."""
