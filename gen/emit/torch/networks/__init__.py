"""The torch files of networks: fields in the layers of a method, and objectives."""
