"""Units of time, the largest first, and how many seconds each has."""

UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
