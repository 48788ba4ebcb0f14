"""The torch files of integrators: problems with a method."""
