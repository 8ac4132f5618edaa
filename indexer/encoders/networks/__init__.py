"""Families of networks, and how each gives its parts: one module a family.

A new network is a row or a module here and nothing else.  May use: records, system.  Keras is
imported where a network is built.
"""
