"""What a picture's file tells beside its pixels: when, where, with what, and what people said."""
