"""Which interactions does fine-tuning preserve, discard and learn? (arXiv 2410.08455)"""
