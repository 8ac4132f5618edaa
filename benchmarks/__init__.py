"""How fast parecido is, beside what one would write by hand and beside what the machine allows."""
