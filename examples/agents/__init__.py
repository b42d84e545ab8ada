"""Four agents, written as the users of their frameworks write them, and trainable by their base URL alone."""
