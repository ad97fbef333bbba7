"""Tests in the folders below find the tiny study here: pytest puts this folder on the path."""
