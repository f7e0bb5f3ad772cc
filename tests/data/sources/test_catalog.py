"""What sources.py promises: files in data.root are read strictly; what is missing arrives whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import socket
import stat
import struct
import threading
import time
import tracemalloc
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request

import numpy as np
import pytest
import torchvision

from pipeline import files
from pipeline.config import Data
from pipeline.config.data_section import SERIES
from pipeline.data.sources import catalog, download, mnist_family
from pipeline.data.sources.checksums import Checksums
from pipeline.errors import DataError, UserError
from tests.support.raw_files import MNIST, examples, idx, put, small_disk


def data(root, source="mnist", **more) -> Data:
    return Data(source=source, root=str(root), **more)


def raises(root, *words, source="mnist", **more) -> str:
    with pytest.raises(DataError) as caught:
        catalog.read(data(root, source, **more))
    message = str(caught.value)
    for word in words:
        assert str(word) in message
    return message


@pytest.fixture(autouse=True)
def no_internet(monkeypatch):
    """A test that reached for torchvision's own addresses would fail here, at once."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "BACKOFF", 0.01)
    resolve = socket.getaddrinfo

    def local_only(host, *args, **kwargs):
        if host != "127.0.0.1":
            raise socket.gaierror(-2, "Name or service not known")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", local_only)


@pytest.mark.parametrize("folder", ["", "MNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_in_either_layout_plain_or_gzip_are_used_as_they_are(tmp_path, folder, suffix):
    arrays = examples()
    paths = put(tmp_path / folder, arrays, suffix=suffix)
    raw = catalog.read(data(tmp_path))
    for got, array in zip((raw.train_values, raw.train_labels, raw.test_values, raw.test_labels), arrays, strict=True):
        np.testing.assert_array_equal(got, array)
    assert raw.train_values.dtype == np.uint8
    assert raw.train_labels.dtype == np.int64
    assert raw.class_names == tuple("0123456789")
    assert raw.value_range == (0, 255)
    found = catalog.checksums(data(tmp_path), Checksums(tmp_path))
    assert found == {path.name: (path, files.sha256(path)) for path in paths}
    assert not (tmp_path / ".lock").exists(), "nothing is written where nothing is missing"


def test_a_gzip_file_without_its_suffix_is_still_read(tmp_path):
    arrays = examples()
    for path in put(tmp_path, arrays):
        path.rename(path.with_suffix(""))
    np.testing.assert_array_equal(catalog.read(data(tmp_path)).test_values, arrays[2])


@pytest.mark.parametrize(("source", "folder", "name"), [("fashion_mnist", "FashionMNIST", "Coat"), ("kmnist", "KMNIST", "tsu")])
def test_the_look_alikes_of_mnist_have_their_own_folder_and_class_names(tmp_path, source, folder, name):
    put(tmp_path / folder / "raw", examples())
    assert name in catalog.read(data(tmp_path, source)).class_names


def emnist_names(split):
    return [
        f"emnist-{split}-{part}-{kind}" for part in ("train", "test") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]


def test_emnist_images_are_upright(tmp_path):
    arrays = examples(classes=47)
    put(tmp_path, arrays, emnist_names("balanced"))
    raw = catalog.read(data(tmp_path, "emnist"))
    np.testing.assert_array_equal(raw.train_values, arrays[0].transpose(0, 2, 1))
    np.testing.assert_array_equal(raw.test_values, arrays[2].transpose(0, 2, 1))
    assert len(raw.class_names) == 47


def test_emnist_letters_count_from_zero(tmp_path):
    arrays = examples(classes=26, first=1)
    paths = put(tmp_path, arrays, emnist_names("letters"))
    raw = catalog.read(data(tmp_path, "emnist", emnist_split="letters"))
    assert raw.class_names == tuple("abcdefghijklmnopqrstuvwxyz")
    np.testing.assert_array_equal(raw.train_labels, arrays[1].astype(int) - 1)
    arrays[1][3] = 0
    put(tmp_path, arrays, emnist_names("letters"))
    raises(tmp_path, paths[1], "row 3", "label 0 is not in 1..26", source="emnist", emnist_split="letters")


@pytest.mark.parametrize(("split", "classes"), [("byclass", 62), ("bymerge", 47), ("digits", 10), ("mnist", 10)])
def test_every_emnist_split_is_read(tmp_path, split, classes):
    put(tmp_path, examples(classes=classes), emnist_names(split))
    assert len(catalog.read(data(tmp_path, "emnist", emnist_split=split)).class_names) == classes


def test_qmnist_labels_are_the_first_of_eight_columns(tmp_path):
    arrays = examples()
    wide = [np.random.default_rng(1).integers(-(2**31), 2**31, (len(a), 8)).astype(np.int32) for a in arrays]
    for column, array in ((wide[1], arrays[1]), (wide[3], arrays[3])):
        column[:, 0] = array
    kinds = ("images-idx3-ubyte", "labels-idx2-int")
    names = [f"qmnist-{part}-{kind}" for part in ("train", "test") for kind in kinds]
    put(tmp_path, [arrays[0], wide[1], arrays[2], wide[3]], names)
    raw = catalog.read(data(tmp_path, "qmnist"))
    np.testing.assert_array_equal(raw.train_labels, arrays[1])
    np.testing.assert_array_equal(raw.test_labels, arrays[3])


def test_the_embedded_digits_need_no_files_and_hold_out_the_same_stratified_fifth(tmp_path):
    from sklearn.datasets import load_digits

    raw = catalog.read(data(tmp_path / "absent", "digits"))
    again = catalog.read(data(tmp_path / "absent", "digits", seed=5))
    assert (len(raw.train_values), len(raw.test_values)) == (1437, 360)
    assert raw.train_values.shape[1:] == (8, 8)
    assert raw.train_values.max() == 16 and raw.value_range == (0, 16)
    assert min(np.bincount(raw.test_labels)) >= 34
    np.testing.assert_array_equal(raw.test_values, again.test_values)
    every = {image.tobytes() for image in load_digits().images.astype(np.uint8)}
    assert {image.tobytes() for image in np.concatenate([raw.train_values, raw.test_values])} == every
    assert not (tmp_path / "absent").exists()


def header(*shape, code=0x08):
    return bytes((0, 0, code, len(shape))) + struct.pack(f">{len(shape)}I", *shape)


WHOLE = idx(examples()[0])
PACKED = gzip.compress(WHOLE)
DAMAGED = PACKED[:200] + bytes(8) + PACKED[208:]
BAD_IMAGES = {
    "empty": (b"", "empty"),
    "wrong magic number": (b"<htm" + WHOLE[4:], "wrong magic number 0x3c68746d, expected 0x00000803"),
    "labels in the place of images": (idx(examples()[1]), "wrong magic number 0x00000801"),
    "short header": (WHOLE[:9], "cut short inside the header"),
    "truncated": (WHOLE[:-1], "cut short"),
    "trailing bytes": (WHOLE + b"x", "too long"),
    "no images": (header(0, 5, 7), "holds no examples"),
    "no pixels": (header(3, 0, 7), "holds no examples"),
    "announces more than it holds": (header(2**32 - 1, 2**32 - 1, 1), "limit"),
    "gzip truncated": (PACKED[:-20], "gzip file is cut short"),
    "gzip header only": (PACKED[:5], "gzip file is cut short"),
    "gzip damaged": (DAMAGED, "gzip file is damaged"),
    "gzip wrong crc": (PACKED[:-8] + bytes(4) + PACKED[-4:], "gzip file is damaged"),
    "gzip of less": (gzip.compress(WHOLE[:-1]), "cut short"),
    "gzip of more": (gzip.compress(WHOLE + bytes(1000)), "too long"),
    "gzip with a second member": (PACKED + gzip.compress(b"x"), "too long"),
    "gzip with garbage behind": (PACKED + b"garbage", "damaged"),
    "gzip that cannot hold it": (gzip.compress(header(2**20, 28, 28)), "cut short"),
}


@pytest.mark.parametrize(("content", "word"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_damaged_file_is_named_with_what_is_wrong_and_what_to_do(tmp_path, content, word):
    path = put(tmp_path, examples())[0]
    path.write_bytes(content)
    raises(tmp_path, path, word, "delete it")


@pytest.mark.parametrize("bomb", ["holds more", "announces more", "announces more, plain"])
def test_a_bomb_costs_no_memory(tmp_path, bomb):
    path = put(tmp_path, examples())[2]
    announced = header(10, 5, 7) if bomb == "holds more" else header(2**15, 256, 255)
    with path.open("wb") if "plain" in bomb else gzip.open(path, "wb") as file:
        file.write(announced)
        for _ in range(64 if bomb == "holds more" else 0):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    raises(tmp_path, path, "too long" if bomb == "holds more" else "cut short")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_label_out_of_range_is_named_with_its_row(tmp_path):
    arrays = examples()
    arrays[3][17] = 10
    paths = put(tmp_path, arrays)
    raises(tmp_path, paths[3], "row 17", "label 10 is not in 0..9")


def test_counts_of_images_and_labels_that_differ_are_named_with_both_files(tmp_path):
    arrays = examples()
    paths = put(tmp_path, [arrays[0], arrays[1][:-1], *arrays[2:]])
    raises(tmp_path, paths[0], paths[1], "199 labels", "200 images")


def test_test_images_of_another_size_are_refused(tmp_path):
    paths = put(tmp_path, examples()[:2] + examples(size=(7, 5))[2:])
    raises(tmp_path, paths[0], paths[2], "(7, 5)", "(5, 7)")


def test_a_root_that_is_a_file_is_named(tmp_path):
    root = tmp_path / "root"
    root.write_text("")
    raises(root, root, "data.root must name the folder")


def test_a_root_that_cannot_be_read_is_named(tmp_path):
    if os.geteuid():
        pytest.skip("NOT TESTED: needs root to become another user")
    root = tmp_path / "root"
    put(root, examples())
    root.chmod(0o700)
    os.seteuid(65534)
    try:
        raises(root, root, "Permission denied", "data.root")
    finally:
        os.seteuid(0)


class Server(ThreadingHTTPServer):
    """Serves ``bodies``; the first folder of the path says in which way the answer is bad."""

    def __init__(self, bodies):
        self.bodies, self.asked = bodies, []
        super().__init__(("127.0.0.1", 0), Answer)

    def url(self, way):
        return f"http://127.0.0.1:{self.server_port}/{way}/"

    def handle_error(self, request, client_address):
        pass


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        way, name = self.path.strip("/").split("/")
        self.server.asked.append((way, name))
        body = self.server.bodies.get(name, b"")
        if way in ("endless", "trickle", "boast"):
            self.send_response(200)
            if way == "boast":
                self.send_header("Content-Length", str(2**50))
            self.end_headers()
            for _ in range(20_000):  # about a GB, or more than three minutes
                self.wfile.write(bytes(1 if way == "trickle" else 2**16))
                time.sleep(0.01 if way == "trickle" else 0)
            return
        if way == "hang":
            time.sleep(1)
        fails = way == "error" or (way == "flaky" and self.server.asked.count((way, name)) <= 2)
        self.send_response(500 if fails else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = {"short": body[: len(body) // 2], "reset": body[: len(body) // 2], "wrong": b"x" * len(body)}.get(way, body)
        self.wfile.write(sent)
        if way == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.wfile.flush()
            self.connection.close()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    bodies = {f"{name}.gz": gzip.compress(idx(array), mtime=0) for name, array in zip(MNIST, examples(), strict=True)}
    with Server(bodies) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def md5(body):
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def local_mnist(monkeypatch, server, *ways):
    class Local(torchvision.datasets.MNIST):
        mirrors = [server.url(way) for way in ways]  # noqa: RUF012
        resources = [(name, md5(body)) for name, body in server.bodies.items()]  # noqa: RUF012

    monkeypatch.setattr(torchvision.datasets, "MNIST", Local)


def left_as_data(root):
    return [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.mark.parametrize("way", ["error", "short", "wrong", "reset", "hang"])
def test_after_a_bad_mirror_the_next_one_gives_the_right_data(tmp_path, monkeypatch, server, way):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    local_mnist(monkeypatch, server, way, "good")
    raw = catalog.read(data(tmp_path / "root"))
    np.testing.assert_array_equal(raw.train_values, examples()[0])
    assert {asked for asked, _ in server.asked} == {way, "good"}
    assert sorted(left_as_data(tmp_path)) == sorted(tmp_path / "root/MNIST/raw" / name for name in server.bodies)
    server.asked.clear()
    catalog.read(data(tmp_path / "root"))
    assert not server.asked, "data that is there is not asked for again"


@pytest.mark.parametrize("way", ["endless", "trickle", "boast"])
def test_a_server_without_end_is_left_after_bounded_bytes_and_time(tmp_path, monkeypatch, server, way):
    monkeypatch.setattr(download, "GRACE", 0.3)
    monkeypatch.setattr(mnist_family, "FILE", 2**20)
    local_mnist(monkeypatch, server, "good")
    with small_disk(tmp_path / "disk", "4m") as root:
        raw = catalog.read(data(root, mirrors=(server.url(way),)))
        assert len(raw.train_labels) == 200
    assert {asked for asked, _ in server.asked} == {way, "good"}


def test_a_server_without_end_is_named_with_its_limit(tmp_path, monkeypatch, server):
    local_mnist(monkeypatch, server, "endless")
    raises(tmp_path, server.url("endless"), "sends more than 64 MiB, which train-images-idx3-ubyte.gz cannot have")


def test_no_redirect_leaves_tls():
    ask = download.SafeRedirects().redirect_request
    assert ask(Request("https://a/x"), None, 302, "", {}, "https://b/x").full_url == "https://b/x"
    assert ask(Request("http://a/x"), None, 302, "", {}, "http://b/x").full_url == "http://b/x"
    for address in ("http://b/x", "ftp://b/x"):
        with pytest.raises(ValueError, match="which is not https"):
            ask(Request("https://a/x"), None, 302, "", {}, address)


@pytest.mark.parametrize("way", ["error", "short", "wrong", "reset"])
def test_when_every_mirror_is_bad_one_message_says_so_and_nothing_is_left(tmp_path, monkeypatch, server, way):
    local_mnist(monkeypatch, server, way, "wrong")
    problem = {"error": "500", "short": "cut short", "wrong": "checksum", "reset": ""}[way]
    raises(tmp_path, server.url(way), server.url("wrong"), "checksum", problem, *MNIST, "by hand", "data.source=digits")
    assert left_as_data(tmp_path) == []
    assert not list(tmp_path.glob(".download-*"))


def test_a_server_that_fails_twice_and_then_works_is_tried_again(tmp_path, monkeypatch, server):
    local_mnist(monkeypatch, server, "flaky")
    assert len(catalog.read(data(tmp_path)).train_labels) == 200


def test_data_mirrors_come_before_torchvisions_own(tmp_path, monkeypatch, server):
    local_mnist(monkeypatch, server, "error")
    catalog.read(data(tmp_path, mirrors=(server.url("good").rstrip("/"),)))
    assert {asked for asked, _ in server.asked} == {"good"}


def test_an_address_that_is_none_is_named(tmp_path, monkeypatch, server):
    local_mnist(monkeypatch, server)
    raises(tmp_path, "nonsense/train-images-idx3-ubyte.gz", "unknown url type", mirrors=("nonsense",))


def test_only_the_missing_file_is_downloaded_and_the_others_are_left_alone(tmp_path, monkeypatch, server):
    local_mnist(monkeypatch, server, "good")
    paths = put(tmp_path, examples(), suffix="")
    paths[1].unlink()
    catalog.read(data(tmp_path))
    assert {name for _, name in server.asked} == {"train-labels-idx1-ubyte.gz"}
    assert len(left_as_data(tmp_path)) == 4


@pytest.mark.parametrize("source", ["mnist", "fashion_mnist", "kmnist", "emnist", "qmnist"])
def test_without_network_or_data_one_message_says_what_to_do(tmp_path, source):
    message = raises(tmp_path, tmp_path, "0 of the 4 files", "Name or service", "by hand", "data.source=digits", source=source)
    for name in catalog.SOURCES[source](data(tmp_path, source)).names:
        assert name in message


def test_some_of_the_four_files_and_no_network_names_the_missing_ones(tmp_path):
    paths = put(tmp_path, examples())
    paths[3].unlink()
    raises(tmp_path, "3 of the 4 files", "Missing: t10k-labels-idx1-ubyte.")
    assert all(path.exists() for path in paths[:3])


def test_processes_that_miss_the_same_data_download_it_once(tmp_path, monkeypatch, server):
    local_mnist(monkeypatch, server, "good")
    threads = [threading.Thread(target=catalog.read, args=(data(tmp_path),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 4


def test_what_a_killed_download_left_is_no_data_and_is_removed(tmp_path, monkeypatch, server):
    local_mnist(monkeypatch, server, "good")
    put(tmp_path / ".download-killed", examples(train=100))
    assert len(catalog.read(data(tmp_path)).train_labels) == 200
    assert not (tmp_path / ".download-killed").exists()


def test_a_full_disk_is_told_from_a_bad_network(tmp_path, monkeypatch, server):
    body = idx(np.random.default_rng(0).integers(0, 256, (400, 28, 28), dtype=np.uint8))
    server.bodies["train-images-idx3-ubyte.gz"] = gzip.compress(body)
    local_mnist(monkeypatch, server, "good")
    with small_disk(tmp_path / "disk", "100k") as root:
        with pytest.raises(UserError, match=r"cannot write downloaded data: the disk is full"):
            catalog.read(data(root))
        assert left_as_data(root) == []


def emnist_archive(*members, split="balanced"):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, array in zip(emnist_names(split), examples(classes=47), strict=True):
            archive.writestr(f"gzip/{name}.gz", gzip.compress(idx(array)))
        archive.writestr("gzip/README.txt", "more")
        for member in members:
            archive.writestr(member, "x")
    return packed.getvalue()


def local_emnist(monkeypatch, server, body):
    server.bodies["gzip.zip"] = body

    class Local(torchvision.datasets.EMNIST):
        url = server.url("good") + "gzip.zip"
        md5 = globals()["md5"](body)

    monkeypatch.setattr(torchvision.datasets, "EMNIST", Local)


def test_the_archive_of_emnist_gives_its_data_files_and_nothing_else(tmp_path, monkeypatch, server):
    local_emnist(monkeypatch, server, emnist_archive())
    assert len(catalog.read(data(tmp_path, "emnist")).train_labels) == 200
    assert {path.name for path in left_as_data(tmp_path)} == {f"{name}.gz" for name in emnist_names("balanced")}


def link():
    member = zipfile.ZipInfo("gzip/link")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize("member", ["../outside", "gzip/../../outside", "/outside", link()], ids=str)
def test_an_archive_that_points_outside_itself_is_refused(tmp_path, monkeypatch, server, member):
    local_emnist(monkeypatch, server, emnist_archive(member))
    raises(tmp_path / "root", "refused", "outside the archive", source="emnist")
    assert left_as_data(tmp_path) == []


def test_an_archive_cut_short_or_without_the_split_is_refused(tmp_path, monkeypatch, server):
    local_emnist(monkeypatch, server, emnist_archive()[:-30])
    raises(tmp_path, "not a whole zip archive", source="emnist")
    local_emnist(monkeypatch, server, emnist_archive())
    raises(tmp_path, "does not hold them", "emnist-letters-train-images", source="emnist", emnist_split="letters")


def test_a_source_is_one_entry_and_the_configuration_knows_it():
    from typing import get_args

    assert {*catalog.SOURCES, *SERIES} == set(get_args(Data.model_fields["source"].annotation))
