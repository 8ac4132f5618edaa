"""What runs a network: OpenVINO on a CPU, Keras on a GPU; the same descriptors from both."""
