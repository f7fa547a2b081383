"""What goes wrong with files, each caused for real: bad bytes, no room, no permission, two at once, a killed writer."""

import hashlib
import io
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny_data

from lib import data
from lib.data import CATALOG, DataError, store


def child(code, **more):
    """Start a Python that has the test's own catalogue entry, logs to its standard error, and runs `code`."""
    start = (
        "import logging\nfrom lib import data\nfrom lib.data.entry import *\n"
        "logging.basicConfig(level=logging.INFO, format='%(message)s')\n"
        f"name = {tiny_data.NAME!r}\ndata.CATALOG[name] = {CATALOG[tiny_data.NAME]!r}\n"
    )
    return tiny_data.start(start + code, **more)


def train(folder):
    return folder / tiny_data.NAME / "train.parquet"


def damage(path):
    """Change one byte in the middle; the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_wrong_checksum_names_the_file_and_no_other_source_is_used(mirror):
    data.fetch(tiny_data.NAME)
    good = data.cache() / tiny_data.NAME / "train.parquet"
    assert good.is_file(), "a whole copy stands in the cache, after the mirror in the order"
    declared = CATALOG[tiny_data.NAME].files[0].sha256
    damage(train(mirror))
    got = hashlib.sha256(train(mirror).read_bytes()).hexdigest()
    for action in (data.load, data.fetch, data.verify, lambda name: data.arrays(name, "train")):
        with pytest.raises(DataError) as error:
            action(tiny_data.NAME)
        for part in (str(train(mirror)), "wrong checksum", declared, got, "Delete that file"):
            assert part in str(error.value)
    row = data.status(tiny_data.NAME)
    assert not row.ready and str(train(mirror)) in row.source


def test_verify_reads_again(mirror):
    """A change that keeps size and time is found by `verify`, though `load` had seen the file before."""
    data.load(tiny_data.NAME)
    before = train(mirror).stat()
    damage(train(mirror))
    os.utime(train(mirror), ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="wrong checksum"):
        data.verify(tiny_data.NAME)


def test_truncated_file(mirror):
    whole = train(mirror).stat().st_size
    os.truncate(train(mirror), 100)
    with pytest.raises(DataError, match=f"is cut short: 100 bytes of {whole:,}"):
        data.load(tiny_data.NAME)


def test_the_right_checksum_of_what_is_no_parquet_file(mirror, monkeypatch):
    train(mirror).write_bytes(b"PAR1 and no more")
    entry = CATALOG[tiny_data.NAME]
    broken = tiny_data.declare(train(mirror), entry.files[0].path)
    monkeypatch.setitem(CATALOG, tiny_data.NAME, type(entry)(entry.name, "", "", files=(broken,), splits=entry.splits))
    with pytest.raises(DataError, match=r"train.parquet is not a readable parquet file"):
        data.load(tiny_data.NAME)


@pytest.mark.parametrize("action", ["data.fetch(name)", "data.arrays(name, 'train')"])
def test_full_disk(mirror, action):
    """The operating system refuses to let a file of the child grow past 8,000 bytes, in the middle of the write."""
    if sys.platform == "win32":
        pytest.skip("this test needs a limit on the size of files, which Windows does not have")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))"
    code = f"{limit}\ntry: {action}\nexcept data.DataError as error: print(error)"
    out, errors = child(code).communicate(timeout=60)
    assert b"The disk is full: " in out and b"COURSE_HOME" in out, (out, errors)
    assert tiny_data.files(data.cache()) == []


def test_a_small_disk_that_fills_up(mirror, tmp_path):
    """The same with a real file system of 32 KB, where the machine lets us mount one."""
    if sys.platform != "linux" or os.system(f"unshare -m mount -t tmpfs none {tmp_path} 2> {os.devnull}"):
        pytest.skip("this test needs the right to mount a small tmpfs (root on Linux)")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"import subprocess\nsubprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=32k', 'none', {str(disk)!r}])\n"
    code = f"{mount}try: data.arrays(name, 'train')\nexcept data.DataError as error: print(error)"
    out, errors = child(code, prefix=["unshare", "-m"], home=disk).communicate(timeout=60)
    assert b"The disk is full: " in out and b"No space left on device" in out, (out, errors)


def test_cache_that_cannot_be_written(mirror, tmp_path, monkeypatch):
    """The cache would lie below a file: nobody can write there, not even root, whom permissions do not stop."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "file"))
    for action in (data.fetch, lambda name: data.arrays(name, "train")):
        with pytest.raises(DataError, match=r"cannot be written: .*Set COURSE_HOME to a folder that you may write to"):
            action(tiny_data.NAME)
    assert len(data.load(tiny_data.NAME)["train"]) == 2490, "what needs no cache still works"


def test_read_only_cache(mirror, tmp_path, monkeypatch):
    if sys.platform == "win32" or os.geteuid() == 0:
        pytest.skip("this test needs a user whom permissions stop: not root, not Windows")
    folder = tmp_path / "read_only"
    folder.mkdir(mode=0o500)
    monkeypatch.setenv("COURSE_HOME", str(folder))
    with pytest.raises(DataError, match="cannot be written"):
        data.fetch(tiny_data.NAME)


def test_decoded_images_serve_from_a_cache_that_cannot_be_written(mirror):
    data.arrays(tiny_data.NAME, "train")
    locks = data.cache() / "locks"
    for lock in locks.iterdir():
        lock.unlink()
    locks.rmdir()
    locks.write_text("now no lock can be taken")
    assert len(data.arrays(tiny_data.NAME, "train")[0]) == 2490


def test_the_second_process_waits_for_the_first(mirror):
    target = data.cache() / tiny_data.NAME / "train.parquet"
    with store.locked(target):
        second = child("print(data.fetch(name))")
        assert second.stderr is not None
        said = ""
        while "waiting for it" not in said:  # ends with the child, should it never wait
            line = second.stderr.readline().decode()
            assert line, said
            said += line
        time.sleep(0.2)
        assert second.poll() is None and not target.exists()
    out, errors = second.communicate(timeout=60)
    assert b"copied from" in out, errors
    store.check(target, CATALOG[tiny_data.NAME].files[0].size, CATALOG[tiny_data.NAME].files[0].sha256)


def test_two_processes_at_once(mirror):
    code = "data.fetch(name)\nx, y = data.arrays(name, 'train')\nprint(int(x.sum()), len(y))"
    children = [child(code) for _ in range(2)]
    answers = [one.communicate(timeout=60) for one in children]
    expected = f"{int(tiny_data.pixels()[:2490].sum())} 2490".encode()
    assert [out.strip() for out, _ in answers] == [expected] * 2, answers
    found = tiny_data.files(data.cache())
    assert [name.rpartition("/")[2] for name in found] == ["train-x.npy", "train-y.npy", "train.parquet"]


def test_a_killed_writer_leaves_nothing_that_is_taken_for_whole(mirror):
    """The child copies from a pipe; it is killed when half of the bytes are on the disk."""
    content = np.random.default_rng(1).bytes(4_000_000)
    digest = hashlib.sha256(content).hexdigest()
    target = data.cache() / "big.bin"
    code = "import sys; from lib.data import store, cache\n"
    code += "store.copy(sys.stdin.buffer, 'pipe', cache() / 'big.bin', int(sys.argv[1]), sys.argv[2])"
    writer = tiny_data.start(code, len(content), digest, stdin=subprocess.PIPE)
    assert writer.stdin is not None
    writer.stdin.write(content[:2_500_000])
    writer.stdin.flush()
    part = target.with_name("big.bin.tmp") / "big.bin"
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size >= 1_000_000):
        assert time.monotonic() < deadline and writer.poll() is None
        time.sleep(0.01)
    writer.kill()
    writer.communicate()
    assert not target.exists()
    assert tiny_data.files(data.cache()) == ["big.bin.tmp/big.bin"]
    store.copy(io.BytesIO(content), "memory", target, len(content), digest)
    assert target.read_bytes() == content
    assert tiny_data.files(data.cache()) == ["big.bin"], "the next writer has cleared what the killed one left"


def test_bytes_that_go_bad_on_the_way_are_not_kept(mirror):
    target = data.cache() / "small.bin"
    with pytest.raises(DataError, match=r"the stick has the wrong checksum"):
        store.copy(io.BytesIO(b"other data"), "the stick", target, 10, "0" * 64)
    assert tiny_data.files(data.cache()) == []
