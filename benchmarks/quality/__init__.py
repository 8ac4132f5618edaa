"""What is found, and whether the same is found everywhere: recipes, parts, processors.

May use the collections; ``python -m benchmarks.quality FOLDER`` makes the tables.
"""
