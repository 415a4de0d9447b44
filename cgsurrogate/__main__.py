"""``python -m cgsurrogate``."""

from cgsurrogate.cli import main

main()
