"""ImageNet's thousand classes: their names, and the words that people have for them.

Two tables with their readers, read at the first word.  May use: records.  Must not know networks.
"""
