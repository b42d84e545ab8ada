"""Walling a process off: the kernel's namespaces, mounts, capabilities, Landlock, system call filters and cgroups.

Everything here is synchronous, runs in a single-threaded process of its own, and raises `OSError` where the kernel
says no.
"""
