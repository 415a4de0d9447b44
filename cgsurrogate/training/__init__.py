"""From frames to weights: one loop, objectives, batches."""
