"""Collections with known groups, drawn, set, cut and turned by chance that a seed gives.

Must not know what is measured; ``python -m benchmarks.collections FOLDER`` writes them.
"""
