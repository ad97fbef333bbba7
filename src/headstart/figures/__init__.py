"""Tables in, figures out; nothing here imports torch."""
