from minicache.store import Cache

__all__ = ["Cache"]
