"""Is the source-optimal checkpoint the best one to fine-tune?"""
