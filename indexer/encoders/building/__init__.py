"""From a network's parts to a file that runs: assembled, exported, quantised.

Imports Keras, and so does its work in a child process, or where Keras runs the encoder anyway.
"""
