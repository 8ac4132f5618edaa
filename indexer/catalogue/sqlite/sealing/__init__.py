"""A digest for every row, and one for each table's set of rows, so that no change of a byte passes.

Written in the transaction that changes the rows, whoever writes.  May use: connections, errors.
"""
