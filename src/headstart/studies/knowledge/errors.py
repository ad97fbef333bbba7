"""What keeps networks from being compared."""


class KnowledgeError(ValueError):
    """What cannot be compared; one line says what was found and what to do."""
