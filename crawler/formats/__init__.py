"""Formats of weights, one file each; `registry.FORMATS` lists them."""
