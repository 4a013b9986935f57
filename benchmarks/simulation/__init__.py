"""The service in virtual time: routing, queues, engines and scaling as events. It starts and measures nothing."""
