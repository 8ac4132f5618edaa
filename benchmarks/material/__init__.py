"""What speed is measured on: pictures, descriptors, libraries, and encoders with their weights.

Must not know what is measured.
"""
