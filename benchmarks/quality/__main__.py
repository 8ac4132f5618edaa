"""``python -m benchmarks.quality``: evaluate recipes and print their tables."""

from benchmarks.quality.recipes import main

if __name__ == "__main__":
    main()
