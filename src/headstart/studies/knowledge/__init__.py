"""Which interactions does fine-tuning preserve, discard and learn?"""
