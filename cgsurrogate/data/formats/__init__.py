"""Files of other programs, parsed in a process of its own."""
