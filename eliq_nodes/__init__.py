"""The ComfyUI nodes of ELIQ: thin over `eliq`, which lies beside this folder.

Importing this package imports neither ComfyUI nor torch; `extension.py` is what ComfyUI asks for.
Files that import nothing of ComfyUI hold what can be tested without it.
"""
