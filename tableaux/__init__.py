"""Every declaration that ships, as data; see the folders beside this file."""
