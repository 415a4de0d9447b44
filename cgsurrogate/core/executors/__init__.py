"""What runs the tasks of a campaign: ``build`` takes their number and gives a ``concurrent.futures.Executor``."""
