"""What do vision transformers forget, learn and move between layers?"""
