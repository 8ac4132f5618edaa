"""Families of networks, and how each tells its parts: one module a family.

A new network is a row or a module here and nothing else.
"""
