"""Why two pictures match: what each place of both adds to their score, and how that looks."""
