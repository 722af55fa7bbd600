"""TryOnAI: self-hosted virtual try-on."""

__version__ = "0.1.0"
