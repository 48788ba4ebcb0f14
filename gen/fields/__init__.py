"""Vector fields as exact objects: brackets, their growth, and ranks at points."""
