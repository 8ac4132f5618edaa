"""The versions, `vNNNN_what.py`, each naming the one before it."""
