"""A library as a folder: opened, locked, kept up to date, verified, repaired.

May use: all below.  Must not know how its pictures came.
"""
