"""The derivation as a person would write it, from H to the update.

:mod:`blocks` is what a document is made of; :mod:`derivation` writes one from what was derived;
:mod:`formats` turns it into plain text, Markdown or LaTeX.
"""
