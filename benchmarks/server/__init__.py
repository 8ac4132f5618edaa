"""A server under load: how many answers a second, and whether every one is right.

May use the material, the baselines and what is measured without a server.
"""
