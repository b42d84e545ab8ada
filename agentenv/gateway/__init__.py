"""The HTTP side: an OpenAI-compatible endpoint that records what it forwards, and environments as servers."""
