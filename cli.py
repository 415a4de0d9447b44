"""``python cli.py`` is the same as the console command ``cgsurrogate``."""

from cgsurrogate.cli import main

if __name__ == "__main__":
    main()
