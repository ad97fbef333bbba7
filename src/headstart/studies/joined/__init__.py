"""Does an earlier start help because it keeps more, or because it can still be trained?"""
