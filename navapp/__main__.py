"""`python -m navapp` is `navapp`."""

from navapp.cli import main

if __name__ == "__main__":
    main()
