"""What every family stands on: the loader and its cache, numbers, compiled functions, tensors."""
