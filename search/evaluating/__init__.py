"""How good retrieval is: recipes measured on collections whose groups are known."""
