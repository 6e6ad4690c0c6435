"""Downloads from a server on this machine that can be told to misbehave."""

import gzip
import hashlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.data.test_idx import idx, images, labels

from gradlogp.core.errors import UserError
from gradlogp.data import DATASETS, download as fetch_set, load
from gradlogp.data.fetch import _only_writer, download
from gradlogp.data.files import sha256
from gradlogp.data.idx import MNIST, Idx

CONTENT = bytes(range(256)) * 2000  # half a megabyte: several blocks
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files` (name -> bytes); `cut` ends a reply after so many bytes; `ranges` says whether
    it knows Range.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"x.gz": CONTENT}
        self.cut = None
        self.ranges = True
        self.asked = []
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        content, name = self.server.files, self.path.rsplit("/", 1)[1]
        if name not in content:
            return self.send_error(404)
        start = int(wanted[6:-1]) if wanted and self.server.ranges else 0
        if start >= len(content[name]):
            return self.send_error(416)
        body = content[name][start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_whole(path: Path) -> bool:
    """Whether the file is right and alone; a difference of half a megabyte is nothing to print."""
    return sha256(path) == CHECKSUM and left_in(path.parent) == [path.name]


def test_the_file_arrives_whole_and_progress_is_told(server, tmp_path):
    seen = []
    download(
        tmp_path / "deep" / "x.gz", [server.url + "x.gz"], CHECKSUM, lambda *args: seen.append(args)
    )
    assert is_whole(tmp_path / "deep" / "x.gz")
    assert seen[-1] == ("x.gz", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})


def test_a_cut_download_goes_on_where_it_stopped(server, tmp_path):
    path, urls = tmp_path / "x.gz", [server.url + "x.gz"]
    server.cut = 200_000
    with pytest.raises(UserError, match=r"cut after 200,000 of 512,000 bytes.*run the same again"):
        download(path, urls, CHECKSUM)
    assert left_in(tmp_path) == ["x.gz.part"]
    server.cut, seen = None, []
    download(path, urls, CHECKSUM, lambda *args: seen.append(args))
    assert is_whole(path)
    assert server.asked == [None, "bytes=200000-"]
    assert seen[0][1] > 200_000 and seen[-1][1:] == (512_000, 512_000)


def test_the_second_mirror_goes_on_where_the_first_stopped(server, tmp_path):
    server.cut = 300_000
    download(tmp_path / "x.gz", [server.url + "x.gz"] * 2, CHECKSUM)
    assert server.asked == [None, "bytes=300000-"] and is_whole(tmp_path / "x.gz")


@pytest.mark.parametrize("there", [b"", CONTENT[:1000], b"rubbish", CONTENT, CONTENT + b"more"])
@pytest.mark.parametrize("ranges", [True, False])
def test_whatever_was_left_of_an_earlier_try_the_file_is_right_in_the_end(
    server, tmp_path, there, ranges
):
    server.ranges = ranges
    (tmp_path / "x.gz.part").write_bytes(there)
    download(
        tmp_path / "x.gz", [server.url + "x.gz"] * 2, CHECKSUM
    )  # at worst the leftovers cost one mirror
    assert is_whole(tmp_path / "x.gz")


@pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
@pytest.mark.parametrize("there", [b"", CONTENT[:300_000]])
def test_of_many_at_once_one_downloads_and_the_others_wait(server, tmp_path, there):
    path, errors = tmp_path / "x.gz", []
    (tmp_path / "x.gz.part").write_bytes(there)

    def one() -> None:
        try:
            download(path, [server.url + "x.gz"], CHECKSUM)
        except UserError as error:
            errors.append(error)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors and is_whole(path)
    assert server.asked == ["bytes=300000-" if there else None]


@pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
def test_who_waited_for_one_that_was_cut_goes_on_where_it_stopped(server, tmp_path):
    path, part = tmp_path / "x.gz", tmp_path / "x.gz.part"
    with _only_writer(part):
        thread = threading.Thread(target=download, args=(path, [server.url + "x.gz"], CHECKSUM))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive() and not server.asked
        part.write_bytes(CONTENT[:100_000])
    thread.join(60)
    assert server.asked == ["bytes=100000-"] and is_whole(path)


# what is wrong: (the file asked for, what is done to the server, a fragment of what we say)
BAD_SERVERS = {
    "not there": ("y.gz", {}, "HTTP 404 Not Found"),
    "wrong checksum": (
        "x.gz",
        {"files": {"x.gz": b"<html>Sign in"}},
        "wrong checksum, expected sha256",
    ),
    "cut": ("x.gz", {"cut": 9}, "cut after 9 of 512,000 bytes"),
}


@pytest.mark.parametrize("case", BAD_SERVERS)
def test_a_bad_server_gets_one_clear_line(server, tmp_path, case):
    name, changes, fragment = BAD_SERVERS[case]
    vars(server).update(changes)
    with pytest.raises(UserError, match=fragment) as caught:
        download(tmp_path / "x.gz", [server.url + name], CHECKSUM)
    said = str(caught.value)
    assert (
        server.url + name in said
        and str(tmp_path) in said
        and "digits" in said
        and "\n" not in said
    )
    assert not (tmp_path / "x.gz").exists()


def test_no_network_names_every_mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(
        UserError, match=r"127.0.0.1:1/x.gz: .*refused.*127.0.0.1:2/x.gz: .*refused"
    ):
        download(
            tmp_path / "x.gz", ["http://127.0.0.1:1/x.gz", "http://127.0.0.1:2/x.gz"], CHECKSUM
        )
    assert left_in(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_a_full_disk_leaves_the_part_for_later(server, tmp_path):
    (tmp_path / "x.gz.part").symlink_to("/dev/full")
    with pytest.raises(
        UserError, match=r"cannot write .*x.gz.part: No space left on device; make room"
    ):
        download(tmp_path / "x.gz", [server.url + "x.gz"], CHECKSUM)
    assert left_in(tmp_path) == ["x.gz.part"]


@pytest.fixture
def small(server, monkeypatch, tmp_path) -> Idx:
    """A publication of four files on the server, in the table in place of MNIST."""
    server.files = {
        name: gzip.compress(idx(images(20) if "images" in name else labels(20)))
        for name in MNIST.files
    }
    files = {name: hashlib.sha256(content).hexdigest() for name, content in server.files.items()}
    small = Idx("mnist", MNIST.classes, (server.url,), files)
    monkeypatch.setitem(DATASETS, "mnist", small)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GRADLOGP_DATA", raising=False)
    return small


def test_with_no_folder_named_the_set_is_downloaded_once_into_the_cache(server, small, tmp_path):
    first, second = load("mnist"), load("mnist")
    assert first.checksums == second.checksums == small.files
    assert len(server.asked) == 4 and len(first.train) == 18
    assert left_in(tmp_path / "cache" / "gradlogp" / "mnist") == sorted(small.files)


def test_a_set_can_be_downloaded_into_a_folder_and_is_found_there(
    server, small, tmp_path, monkeypatch
):
    monkeypatch.setenv("GRADLOGP_DATA", str(tmp_path / "mine"))
    assert fetch_set("mnist") == tmp_path / "mine" / "mnist"
    assert load("mnist").checksums == small.files


def test_a_file_that_is_there_is_checked_and_never_replaced(server, small, tmp_path):
    path = fetch_set("mnist", tmp_path) / "train-labels-idx1-ubyte.gz"
    path.write_bytes(b"mine")
    with pytest.raises(
        UserError, match=r"is not the published file .* delete it and run `gradlogp data mnist`"
    ):
        fetch_set("mnist", tmp_path)
    assert path.read_bytes() == b"mine" and sha256(path) == hashlib.sha256(b"mine").hexdigest()


def test_what_is_embedded_needs_no_download():
    with pytest.raises(UserError, match="digits is not downloaded: it is embedded"):
        fetch_set("digits")
