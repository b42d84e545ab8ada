"""Recordings of what was done to a surface and what was seen of it: made, replayed without the surface, and shown.

`log` is the folder on disk, `recorder` makes one, `replay` stands in for the surface, `film` is for looking at.
"""
