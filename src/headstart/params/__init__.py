"""The typed, frozen view of `params.yaml`: every wrong key or value is an error with its path.

Classes here hold fields and validation only. What a job gets of them is complete, what its key holds is
what differs from the recorded defaults (`types.canonical`), so no word in these files is in any key.
"""
