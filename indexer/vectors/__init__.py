"""The nearest neighbours of descriptors, whatever they are of.

Reads them through the port in `source`, answers through that in `nearest`; all here can be made
again from the catalogue.  May use: learning, system.  Must not know pictures or libraries.
"""
