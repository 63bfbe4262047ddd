"""Formats of weights beside safetensors and GGUF, one file each; `FORMATS` in `interface.py` lists them."""
