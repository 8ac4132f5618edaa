"""Pictures decoded in processes of their own, which a bad file may bring down.

Knows nothing of catalogues and networks.  May use: the modules of ``pictures``.
"""
