"""Support shared by the tests and the benchmarks: stand-ins that are used beside the real components, never instead."""
