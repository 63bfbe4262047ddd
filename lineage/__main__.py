"""`python -m lineage`."""

from lineage.commands import main

if __name__ == "__main__":
    main()
