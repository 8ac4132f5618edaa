"""What runs a network: OpenVINO on a CPU, Keras on a GPU or where OpenVINO is missing.

Both run the model that :mod:`parecido.indexer.encoders.building.assemble` makes, and agree in
float32 to a cosine of 0.9999 or better.
"""
