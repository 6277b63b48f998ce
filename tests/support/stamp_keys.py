"""Keys of STAMP in files, for reflectors and senders."""

import os
import shutil
import tempfile

KEY = bytes(range(32))


def key_file(test, content=KEY.hex().encode() + b"\n", mode=0o600, name="key"):
    """The path of a file that lasts as long as the test."""
    directory = tempfile.mkdtemp()
    test.addCleanup(shutil.rmtree, directory)
    path = os.path.join(directory, name)
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)
    return path
