"""What is learned from descriptors without labels: a space, its effect, what chance gives.

Arithmetic on arrays; must know no library and no database.  May use: arithmetic, arrays.
"""
