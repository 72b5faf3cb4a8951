"""Builds the source distribution, and from that a wheel for each Python here; then tries each.

    make wheels [ARGS="PYTHON..."]

Without arguments it is for every CPython on the path, in pyenv, and the one without the GIL. Zig
links against the oldest C library of the manylinux tag, whatever this machine has. Each wheel is
weighed, looked into, and installed in an environment of its own, where tools/smoke.py uses it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
MANYLINUX = "manylinux_2_17"
MOST = 1_500_000
"""Bytes of a wheel."""

WANTED = ["3.11", "3.12", "3.13", "3.14", "3.14t"]
TELL = """
import sys, sysconfig
free = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(sys.implementation.name, "%d.%d" % sys.version_info[:2] + free, sys.executable)
"""
LICENSES = {"LICENSE", "LICENSE-MIT", "LICENSE-APACHE"}
TOP = {
    *LICENSES,
    *("CHANGELOG.md", "Cargo.lock", "Cargo.toml", "PKG-INFO", "README.md"),
    *("benches", "build.rs", "docs", "pyproject.toml", "python", "src", "tests"),
}
SUFFIXES = {"", ".lock", ".md", ".py", ".pyi", ".rs", ".toml", ".typed"}


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command in plain sight, and end with it where it fails."""
    print("$", *command, flush=True)
    target = os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target" / "wheels")}
    # Zig is found as a module of the first Python on the path.
    target["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{target['PATH']}"
    code = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=target, check=False
    ).returncode
    if code:
        sys.exit(f"wheels: {command[0]} failed ({code})")


def maturin(*arguments: str | Path, cwd: Path = ROOT) -> None:
    """Run maturin."""
    run(sys.executable, "-m", "maturin", *arguments, cwd=cwd)


def interpreters(given: Sequence[str]) -> dict[str, str]:
    """Return one interpreter of each version, by the version."""
    found: dict[str, str] = {}
    for candidate in given or _candidates():
        done = subprocess.run([candidate, "-c", TELL], capture_output=True, text=True, check=False)
        name, version, executable = done.stdout.split(maxsplit=2) if done.stdout else ("", "", "")
        if name == "cpython" and version in WANTED:
            found.setdefault(version, executable.strip())
        elif given:
            sys.exit(f"wheels: {candidate} is no CPython of {', '.join(WANTED)}")
    return found


def _candidates() -> Iterator[str]:
    yield from filter(None, (shutil.which(f"python{version}") for version in WANTED))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    yield from sorted(str(path) for path in pyenv.glob("3.*/bin/python"))
    free_threaded = subprocess.run(
        ["tools/find-free-threaded"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    yield from free_threaded.stdout.split()


def check_source(archive: Path) -> None:
    """Check that a source distribution has all that it needs and nothing else."""
    with tarfile.open(archive) as opened:
        paths = [Path(*Path(member.name).parts[1:]) for member in opened if member.isfile()]
    top = {path.parts[0] for path in paths}
    junk = [str(path) for path in paths if path.suffix not in SUFFIXES]
    junk += [
        str(path) for path in paths if any(part.startswith((".", "__pyc")) for part in path.parts)
    ]
    if top != TOP or junk:
        sys.exit(f"wheels: {archive.name} lacks {TOP - top}, has {top - TOP} and {junk}")


def check_wheel(wheel: Path) -> None:
    """Check the size and the contents of a wheel."""
    size = wheel.stat().st_size
    with zipfile.ZipFile(wheel) as opened:
        paths = [Path(name) for name in opened.namelist() if not name.endswith("/")]
        license_files = {path.name for path in paths if path.parent.name == "licenses"}
    extensions = [path for path in paths if path.suffix in (".so", ".pyd")]
    junk = [
        str(path)
        for path in paths
        if path.suffix not in (".py", ".pyi", ".typed")
        and path not in extensions
        and not path.parts[0].endswith(".dist-info")
    ]
    print(f"{wheel.name}: {size / 1e6:.2f} MB", flush=True)
    if size > MOST:
        sys.exit(f"wheels: that is more than {MOST / 1e6} MB")
    if len(extensions) != 1 or junk or license_files != LICENSES:
        sys.exit(f"wheels: it has {extensions}, {license_files} and {junk}")


def try_out(wheel: Path, interpreter: str) -> None:
    """Use a wheel in an environment that has nothing else."""
    with tempfile.TemporaryDirectory() as directory:
        empty = Path(directory)
        run(interpreter, "-m", "venv", empty / "env")
        python = empty / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
        run(python, *install, wheel)
        run(python, "-I", ROOT / "tools" / "smoke.py", cwd=empty)


def main() -> int:
    """Build and try them."""
    parser = argparse.ArgumentParser(prog="wheels", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("python", nargs="*", help="an interpreter; all that are found by default")
    found = interpreters(parser.parse_args().python)
    if not found:
        sys.exit(f"wheels: no CPython of {', '.join(WANTED)} here")
    project = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"]
    archive = DIST / f"leaksafe-{project['version']}.tar.gz"
    shutil.rmtree(DIST, ignore_errors=True)
    maturin("sdist", "--out", DIST)
    check_source(archive)
    portable = ["--zig", "--compatibility", MANYLINUX] if sys.platform == "linux" else []
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(archive) as opened:
            opened.extractall(directory, filter="data")
        options: list[str | Path] = [
            "--release",
            "--locked",
            *portable,
            "--out",
            DIST,
            "--interpreter",
        ]
        maturin(
            "build", *options, *found.values(), cwd=Path(directory, archive.name[: -len(".tar.gz")])
        )
    for version, interpreter in found.items():
        tag = f"cp{version.replace('.', '')}"
        (wheel,) = DIST.glob(f"*-cp{version.replace('.', '').rstrip('t')}-{tag}-*.whl")
        check_wheel(wheel)
        try_out(wheel, interpreter)
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(DIST.iterdir()))
    missing = [version for version in WANTED if version not in found]
    print(f"wheels: {len(found)} built and tried: {', '.join(found)}")
    if missing:
        print(f"wheels: left to the release workflow: {', '.join(missing)}, and other systems")
    return 0


if __name__ == "__main__":
    sys.exit(main())
