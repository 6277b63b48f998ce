"""The additions of tests/conftest.py to pytest."""
