"""Which interactions between image patches fine-tuning preserves, discards and learns."""


class KnowledgeError(ValueError):
    """What cannot be compared; one line says what was found and what to do."""
