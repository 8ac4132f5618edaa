"""A library as a folder: opened, locked, kept up to date, backed up, restored.

May use: all below.  Must not know how its pictures came.
"""
