"""The shapes of requests and answers, checked on the way in and documented for programs."""
