"""How long indexing, opening and searching take, and what of the machine they use.

May use the material and the baselines; has no server.
"""
