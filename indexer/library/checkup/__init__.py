"""A library checked from top to bottom, mended, and saved from a damaged catalogue.

Pictures are never touched.  May use: the library's other modules, which do not know this room.
"""
