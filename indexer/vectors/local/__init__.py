"""The nearest neighbours in a file of FAISS's beside the catalogue: flat or compressed.

The only room that imports FAISS.
"""
