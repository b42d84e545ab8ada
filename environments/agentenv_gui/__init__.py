"""Graphical surfaces: a browser and a desktop, acted upon with a mouse and a keyboard.

`actions` is what can be done, `seen` what there is to see, `surface` what is acted upon.
"""
