"""Published numbers, to draw beside ours. Data, with its source."""
