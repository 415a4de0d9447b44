"""Time-steppers, a file each."""
