"""Changes to the catalogue, each batch in one transaction, behind the library's lock.

May use: reading.
"""
