"""`python -m restorectl`, and the program that an installation has."""

from restorectl.commands import main

if __name__ == "__main__":
    main()
