"""`python -m medcli`."""

from medcli.cli import main

if __name__ == "__main__":
    main()
