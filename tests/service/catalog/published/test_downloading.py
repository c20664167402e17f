"""Published files from a real server that cuts, lies, redirects and is away."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputError, SubnetSearchError
from models.published import PublishedFile
from models.published import files as files_module
from models.published.files import published_files
from service.catalog.published import downloading, fetch_published, read_place, read_places
from service.catalog.published.places import Place
from service.catalog.published.transfer import Patience
from service.contracts import DownloadFailed
from tests.processes import PATIENCE_S
from tests.service.file_server import Answer, FileServer, file_server

CONTENT = bytes(range(256)) * 1024
PATH = "ofa/nets/made-up"
QUICK = Patience(
    connect_s=5, silence_s=5, idle_connections=3, connections=8, pause_s=0.001, lock_s=0.0
)


def published(content: bytes = CONTENT, path: str = PATH) -> PublishedFile:
    """A file that is published by definition."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return PublishedFile(path, blob)


@pytest.fixture(scope="module")
def running():
    with file_server() as server:
        yield server


@pytest.fixture
def server(running: FileServer) -> FileServer:
    running.files = {PATH: CONTENT}
    running.spoil = lambda number, answer: answer
    running.requests.clear()
    return running


def fetch(home: Path, *places: Place, file: PublishedFile | None = None, **options) -> Path:
    return fetch_published(
        file or published(), home, places, only=True, **{"patience": QUICK, **options}
    )


def at(server: FileServer) -> Place:
    return read_place(server.url, "--from")


def left(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


def test_a_file_is_fetched_once(server, tmp_path):
    shares: list[tuple[float, str]] = []
    path = fetch(tmp_path, at(server), on_share=lambda *now: shares.append(now))
    assert path.read_bytes() == CONTENT
    assert path.name == "made-up"
    assert server.requests == [(f"/{PATH}", None)]
    assert shares[-1][0] == 1
    assert "made-up from 127.0.0.1, 0.3 MB" in shares[-1][1]
    assert fetch(tmp_path, at(server)) == path
    assert len(server.requests) == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [path]


def test_a_cut_connection_is_continued(server, tmp_path):
    cuts = {0: 70_000, 1: 0, 2: 1000}
    server.spoil = lambda n, answer: Answer(answer.status, answer.body, answer.headers, cuts.get(n))
    assert fetch(tmp_path, at(server)).read_bytes() == CONTENT
    ranges = [wanted for _, wanted in server.requests]
    assert ranges == [None, "bytes=70000-", "bytes=70000-", "bytes=71000-"]


def test_an_interrupted_download_is_continued_by_the_next_process(server, tmp_path):
    class Interrupted(BaseException):
        pass

    def stop(share: float, word: str) -> None:
        if share > 0:
            raise Interrupted

    with pytest.raises(Interrupted):
        fetch(tmp_path, at(server), on_share=stop)
    (partial,) = (path for path in tmp_path.rglob("*") if path.is_file())
    held = partial.stat().st_size
    assert 0 < held <= len(CONTENT)
    assert fetch(tmp_path, at(server)).read_bytes() == CONTENT
    if held < len(CONTENT):
        assert server.requests[-1][1] == f"bytes={held}-"


def partial_of(home: Path, file: PublishedFile, content: bytes) -> Path:
    path = home / "published" / file.blob / f"{file.name}.partial"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_a_server_without_ranges_sends_all_of_it_again(server, tmp_path):
    partial_of(tmp_path, published(), CONTENT[:1000])
    server.spoil = lambda n, answer: Answer(200, CONTENT)
    assert fetch(tmp_path, at(server)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "held",
    [b"of another file", CONTENT + b"and more", CONTENT[:-1] + b"?", b"?" + CONTENT[1:-9]],
    ids=["other", "longer", "same length", "begins otherwise"],
)
def test_pieces_of_another_file_do_not_spoil_it(server, tmp_path, held):
    partial_of(tmp_path, published(), held)
    assert fetch(tmp_path, at(server)).read_bytes() == CONTENT


def test_a_whole_partial_file_needs_no_network(tmp_path):
    partial_of(tmp_path, published(), CONTENT)
    assert fetch(tmp_path).read_bytes() == CONTENT


def test_a_file_that_changes_while_it_is_fetched_is_fetched_anew(server, tmp_path):
    old = bytes(len(CONTENT) + 5)

    def spoil(number: int, answer: Answer) -> Answer:
        return Answer(200, old, {}, 999) if number == 0 else answer

    server.spoil = spoil
    assert fetch(tmp_path, at(server)).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=999-", None]


@pytest.mark.slow
@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, len(CONTENT)), max_size=5), ranges=st.booleans())
def test_however_it_is_cut_the_file_is_whole(running, tmp_path_factory, cuts, ranges):
    running.files = {PATH: CONTENT}
    running.requests.clear()

    def spoil(number: int, answer: Answer) -> Answer:
        whole = answer if ranges or answer.status == 416 else Answer(200, CONTENT)
        sent = cuts[number] if number < len(cuts) else None
        return Answer(whole.status, whole.body, whole.headers, sent)

    running.spoil = spoil
    patience = Patience(idle_connections=20, connections=50, pause_s=0.0)
    home = tmp_path_factory.mktemp("home")
    assert fetch(home, at(running), patience=patience).read_bytes() == CONTENT


@pytest.mark.parametrize("bit", [0, 8 * 131_072 + 3, 8 * len(CONTENT) - 1])
def test_one_bit_off_is_refused_and_nothing_is_left(server, tmp_path, bit):
    spoilt = bytearray(CONTENT)
    spoilt[bit // 8] ^= 1 << bit % 8
    server.files[PATH] = bytes(spoilt)
    with pytest.raises(DownloadFailed) as caught:
        fetch(tmp_path, at(server))
    message = str(caught.value)
    got = published(bytes(spoilt)).blob
    assert f"expected git blob id {published().blob}, got {got}" in message
    assert "fetch by hand https://raw.githubusercontent.com/han-cai/files/" in message
    assert left(tmp_path) == []
    assert len(server.requests) == 1


def test_after_a_wrong_file_the_next_mirror_is_asked(server, tmp_path):
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    for folder, content in ((wrong, CONTENT[::-1]), (right, CONTENT)):
        folder.mkdir()
        (folder / "made-up").write_bytes(content)
    places = read_places([str(wrong), f"{server.url}/nowhere", str(right)])
    assert fetch(tmp_path / "home", *places).read_bytes() == CONTENT
    assert {path for path, _ in server.requests} == {
        "/nowhere/ofa/nets/made-up",
        "/nowhere/nets/made-up",
        "/nowhere/made-up",
    }


def test_a_damaged_file_of_the_cache_is_fetched_again(server, tmp_path):
    path = fetch(tmp_path, at(server))
    path.write_bytes(CONTENT[:-1])
    assert fetch(tmp_path, at(server)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "answers",
    [
        [Answer(503).with_headers(Retry_After="0")],
        [Answer(429), Answer(500)],
        [Answer(200, CONTENT, {}, 0), Answer(408)],
    ],
    ids=["busy", "rate", "cut"],
)
def test_what_passes_is_waited_for(server, tmp_path, answers):
    server.spoil = lambda n, answer: answers[n] if n < len(answers) else answer
    assert fetch(tmp_path, at(server)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(403), "answered 403"),
        (Answer(404), "does not have it"),
        (Answer(500), "answered 500"),
        (Answer(200, CONTENT, {"Content-Encoding": "gzip"}), "compressed"),
        (Answer(200, b"x", {"Content-Length": str(10**15)}, 1), "bytes, more than the 268435456"),
        (Answer(302, b"", {"Location": "/ofa/nets/made-up"}), "redirects"),
        (Answer(302, b"", {"Location": "ftp://127.0.0.1/made-up"}), "ftp"),
        (Answer(200, CONTENT, {}, 0), "0 of 262144 bytes came|peer closed"),
        (Answer(206, CONTENT, {"Content-Range": "bytes 5-9/10"}), "another range"),
        (Answer(206, CONTENT, {"Content-Range": "nonsense"}), "another range"),
    ],
    ids=["no", "absent", "broken", "gzip", "huge", "loop", "ftp", "cut", "range", "nonsense"],
)
def test_what_lasts_is_given_up(server, tmp_path, answer, reason):
    server.spoil = lambda n, _: answer
    with pytest.raises(DownloadFailed, match=reason):
        fetch(tmp_path, at(server))
    assert left(tmp_path) == []
    assert len(server.requests) <= 8


def test_more_than_any_published_file_has_is_not_kept(server, tmp_path, monkeypatch):
    monkeypatch.setattr(files_module, "MAX_WEIGHTS_BYTES", 100_000)
    server.spoil = lambda n, answer: Answer(200, CONTENT).with_headers(Content_Length="")
    with pytest.raises(DownloadFailed, match="sends more than the 100000"):
        fetch(tmp_path, at(server))
    (tmp_path / "made-up").write_bytes(CONTENT)
    with pytest.raises(InputError, match="262144 bytes, more than the 100000"):
        fetch(tmp_path / "home", read_place(str(tmp_path), "--from"))
    assert left(tmp_path) == ["home", "made-up"]


def test_a_redirect_is_followed_and_no_password_with_it(server, tmp_path):
    seen: list[str | None] = []
    with file_server() as other:
        other.files[PATH] = CONTENT
        location = {"Location": f"{other.url.replace('127.0.0.1', 'localhost')}/{PATH}"}
        server.spoil = lambda n, _: Answer(307, b"", location)
        other.on_headers = lambda headers: seen.append(headers["Authorization"])
        url = server.url.replace("//", "//user:secret@")
        shown: list[str] = []
        path = fetch(
            tmp_path, read_place(url, "--from"), on_share=lambda _, word: shown.append(word)
        )
        assert path.read_bytes() == CONTENT
    assert seen == [None]
    assert not any("secret" in word for word in shown)


def test_messages_hold_no_secrets(server, tmp_path):
    server.spoil = lambda n, _: Answer(403)
    parts = urlsplit(server.url)
    place = read_place(f"http://user:secret@{parts.netloc}/base?token=hidden", "--from")
    with pytest.raises(DownloadFailed) as caught:
        fetch(tmp_path, place)
    assert f"http://{parts.netloc}/base/ofa/nets/made-up: answered 403" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert server.requests[0][0] == "/base/ofa/nets/made-up?token=hidden"


def test_without_a_network_it_says_what_to_fetch(server, tmp_path):
    away = read_place("http://127.0.0.1:9", "--from")
    file = published_files()["ofa/acc_predictor.pth"]
    with pytest.raises(DownloadFailed) as caught:
        fetch(tmp_path, away, file=file)
    message = str(caught.value)
    assert f"{file.url} (git blob id f6a9ab2f66b7e2f6e097a1e32faafe60a4d22fcf)" in message
    assert file.url.endswith("a7c9bcd525e17404968bc55aa43772bf7e51909e/ofa/acc_predictor.pth")
    assert "--from FOLDER" in message
    assert left(tmp_path) == []


def test_the_network_is_asked_where_it_was_published_last(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "_origin", lambda file: at(server))
    (tmp_path / "mirror").mkdir()
    mirror = read_place(str(tmp_path / "mirror"), "--from")
    path = fetch_published(published(), tmp_path / "home", [mirror], patience=QUICK)
    assert path.read_bytes() == CONTENT
    with pytest.raises(InputError, match="does not have it"):
        fetch(tmp_path / "other", mirror)


@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_is_said_and_what_came_is_kept(server, tmp_path, monkeypatch, failure):
    from service.catalog.published import transfer

    write = transfer.write

    def limited(out, block):
        write(out, block[:5000])
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr(transfer, "write", limited)
    with pytest.raises(SubnetSearchError, match=os.strerror(failure)) as caught:
        fetch(tmp_path, at(server))
    assert "continues where it ended" in str(caught.value)
    monkeypatch.undo()
    assert fetch(tmp_path, at(server)).read_bytes() == CONTENT
    assert server.requests[-1][1] == "bytes=5000-"


def test_a_folder_that_cannot_be_written_is_an_error_of_one_line(server, tmp_path):
    (tmp_path / "published").write_text("a file")
    with pytest.raises(SubnetSearchError, match="cannot be written to"):
        fetch(tmp_path, at(server))


def test_two_at_once_download_it_once(server, tmp_path):
    arrived, go_on = Event(), Event()

    def spoil(number: int, answer: Answer) -> Answer:
        arrived.set()
        assert go_on.wait(PATIENCE_S)
        return answer

    server.spoil = spoil
    waiting = Event()
    patience = Patience(lock_s=PATIENCE_S)
    paths: list[Path] = []

    def second() -> None:
        notice = lambda share, word: waiting.set()  # noqa: E731
        paths.append(fetch(tmp_path, at(server), patience=patience, on_share=notice))

    first = Thread(target=lambda: paths.append(fetch(tmp_path, at(server))))
    first.start()
    assert arrived.wait(PATIENCE_S)
    other = Thread(target=second)
    other.start()
    assert waiting.wait(PATIENCE_S)
    go_on.set()
    first.join(PATIENCE_S)
    other.join(PATIENCE_S)
    assert len(paths) == 2
    assert paths[0] == paths[1]
    assert len(server.requests) == 1


def test_a_process_that_never_ends_is_not_waited_for_forever(tmp_path):
    partial = partial_of(tmp_path, published(), b"half")
    with partial.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(SubnetSearchError, match="another process has kept it"):
            fetch(tmp_path)
    assert partial.read_bytes() == b"half"


@pytest.mark.parametrize("layout", ["ofa/nets/made-up", "nets/made-up", "made-up"])
def test_a_folder_may_hold_it_by_path_or_by_name(tmp_path, layout):
    path = tmp_path / "mirror" / layout
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    place = read_place(str(tmp_path / "mirror"), "--from")
    fetched = fetch(tmp_path / "home", place)
    assert fetched.read_bytes() == CONTENT
    assert fetched != path
    assert path.exists()


@pytest.mark.parametrize("path", ["ofa/acc_predictor.pth", "ofa/ofa_resnet50_acc_predictor.pth"])
def test_the_published_predictors_prove_their_ids(server, tmp_path, path):
    """Byte for byte from where `SUBNET_REFERENCE` has them, by the server."""
    folder = os.environ.get("SUBNET_REFERENCE")
    if not folder:
        pytest.skip("SUBNET_REFERENCE names no folder with the published files")
    name = "acc_predictor_resnet50.pth" if "resnet" in path else "acc_predictor_mbv3_w1.2.pth"
    server.files[path] = (Path(folder) / name).read_bytes()
    server.spoil = lambda n, answer: Answer(
        answer.status, answer.body, answer.headers, 300_000 if n == 0 else None
    )
    file = published_files()[path]
    assert fetch(tmp_path, at(server), file=file).read_bytes() == server.files[path]
