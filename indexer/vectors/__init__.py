"""The nearest neighbours of descriptors, whatever they are of.

The catalogue is the truth, and all here can be made again from it.  May use: catalogue, learning.
"""
