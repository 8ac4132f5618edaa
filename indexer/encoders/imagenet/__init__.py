"""ImageNet's thousand classes: their names, and the words that people have for them."""
