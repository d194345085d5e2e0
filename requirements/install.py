"""Makes a virtual environment and installs one lock into it; does nothing when that lock is there already.

Only the standard library, and syntax that an old Python still reads, so that it can say what is missing.
Usage: ``python3 requirements/install.py base|dev|fuzz|conformance``.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
# The environment of each lock. In one, a lock installs what the locks before it need, at the same versions.
LOCKS = [("base", ".venv"), ("dev", ".venv"), ("fuzz", ".venv"), ("conformance", ".venv-conformance")]


def main():  # type: () -> int
    """Install the lock named on the command line."""
    if sys.version_info < OLDEST:
        return with_newer_python()
    lock = sys.argv[1]
    venv = ROOT / dict(LOCKS)[lock]
    wanted = fingerprint(lock)
    stamp = venv / "installed-{}".format(lock)
    if stamp.is_file() and stamp.read_text() == wanted:
        return 0
    if not is_usable(venv) and not make_venv(venv):
        return 1
    print("Installing requirements/{}.txt into {} ...".format(lock, venv.name), flush=True)
    done = subprocess.call(
        [
            str(venv / "bin" / "python"),
            *["-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check"],
            *["--require-hashes", "--requirement"],
            str(ROOT / "requirements" / "{}.txt".format(lock)),
        ]
    )
    if done != 0:
        print("Installing the requirements failed: pip says why above.", file=sys.stderr)
        return done
    for covered, place in LOCKS[: [name for name, _ in LOCKS].index(lock) + 1]:
        if ROOT / place == venv:
            (venv / "installed-{}".format(covered)).write_text(fingerprint(covered))
    return 0


def fingerprint(lock):  # type: (str) -> str
    """What is installed when this lock is: its bytes and the Python that it went into."""
    text = (ROOT / "requirements" / "{}.txt".format(lock)).read_bytes()
    return "{} {}.{}\n".format(hashlib.sha256(text).hexdigest(), *sys.version_info[:2])


def is_usable(venv):  # type: (Path) -> bool
    """Whether the environment is there, alive, and of the Python that runs this."""
    library = venv / "lib" / "python{}.{}".format(*sys.version_info[:2])
    return (venv / "bin" / "python").exists() and library.is_dir()


def make_venv(venv):  # type: (Path) -> bool
    """Make the virtual environment, or say what is missing for it."""
    version = "{}.{}".format(*sys.version_info[:2])
    print("Making the virtual environment {} (Python {}) ...".format(venv.name, version), flush=True)
    if subprocess.call([sys.executable, "-m", "venv", "--clear", str(venv)], stdout=sys.stderr) == 0:
        return True
    shutil.rmtree(str(venv), ignore_errors=True)
    print(
        "Python's venv module does not work here. On Debian and Ubuntu: apt install python3-venv",
        file=sys.stderr,
    )
    return False


def with_newer_python():  # type: () -> int
    """Start again with a Python that is new enough, if this machine has one."""
    for minor in (13, 12, 11, 14):
        found = shutil.which("python3.{}".format(minor))
        if found and subprocess.call([found, "-c", ""]) == 0:
            return subprocess.call([found, *sys.argv])
    print(
        "Sluice needs Python 3.11 or newer, and {} is {}.{}. ".format(sys.executable, *sys.version_info[:2])
        + "Install one, or name it: make PYTHON=/path/to/python3.11",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
