"""Peers, each installed in a virtual environment of its own and run as a process of its own."""
