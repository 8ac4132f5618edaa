"""What a question is: given pictures, how they are meant, which answers are wanted.

Makes descriptors of what is given.  May use: library, encoders, ranking's question.  Must not
know how answers are found.
"""
