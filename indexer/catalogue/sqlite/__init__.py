"""The catalogue as one SQLite file: connections, tables, versions.

All SQL of the project is in this room and the two inside it.
"""
