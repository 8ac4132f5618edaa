"""A server under load and under attack: how many answers a second, and whether all are right.

May use the material, the baselines and what is measured without a server.
"""
