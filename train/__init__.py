"""EDGE room: supervised fine-tuning of planner and executor on Ray Train and DeepSpeed. It imports `sprint` only."""
