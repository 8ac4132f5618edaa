"""The shapes of requests and answers, checked on the way in and documented for programs.

May use: asking, records, results.  Must not know routes, nor what answers a request.
"""
