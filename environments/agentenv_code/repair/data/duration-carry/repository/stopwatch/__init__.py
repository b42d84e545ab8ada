from stopwatch.text import format_seconds, parse_seconds

__all__ = ["format_seconds", "parse_seconds"]
