"""`python -m stillmotion` is the `stillmotion` command."""

from stillmotion.cli import main

if __name__ == "__main__":
    main()
