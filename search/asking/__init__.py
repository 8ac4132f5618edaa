"""What a question is: given pictures, how they are meant, which answers are wanted.

May use: encoders, records.  Must not know how answers are found.
"""
