"""A library checked from top to bottom, mended, and saved from a damaged catalogue.

Files that are pictures are read, never touched.  May use: everything below it.
"""
