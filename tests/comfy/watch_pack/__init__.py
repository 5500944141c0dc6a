"""A pack without nodes; what it does, `prestartup_script.py` does before any pack is imported."""

NODE_CLASS_MAPPINGS: dict[str, type] = {}
