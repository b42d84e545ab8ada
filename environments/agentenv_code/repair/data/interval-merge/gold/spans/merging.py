"""Spans of whole numbers, [start, end) each: merged, and what lies between them."""


def merge(spans):
    """Joins spans that overlap or touch; the result is sorted. Empty spans are dropped."""
    merged = []
    for start, end in sorted(spans):
        if start == end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def gaps(spans, start, end):
    """What of [start, end) no span covers."""
    found = []
    at = start
    for left, right in merge(spans):
        if min(left, end) > at:
            found.append((at, min(left, end)))
        at = max(at, right)
    if at < end:
        found.append((at, end))
    return found
