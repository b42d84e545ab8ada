"""Measurements behind BENCHMARKS.md. ``python -m benchmarks`` runs them all and rewrites its tables."""
