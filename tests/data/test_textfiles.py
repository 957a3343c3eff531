import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attnres_eval.data.corpora import open_corpus
from attnres_eval.data.split import Split
from attnres_eval.errors import UserError

DOCUMENTS = [f"Document {number}: naïve 世界.\n" for number in range(1500)]
LINES = "".join(json.dumps({"text": text, "id": 1}) + "\n" for text in DOCUMENTS)


def read(path) -> Split:
    return open_corpus(f"file:{path}", hub_characters=1, reasoning_characters=1).read()


def test_formats_hold_the_same_documents(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n" + LINES)
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write(LINES)
    pq.write_table(pa.table({"text": [*DOCUMENTS, None]}), tmp_path / "a.parquet")
    splits = [read(tmp_path / name) for name in ("a.jsonl", "a.jsonl.gz", "a.parquet")]
    for split in splits:
        assert sorted(split.training + split.held_out) == sorted(DOCUMENTS)
        assert split.held_out == splits[0].held_out
        assert list(split.counts.values()) == [
            {"documents": 1500, "parts": 1500, "held_out": len(split.held_out)}
        ]


def test_txt_is_one_document(tmp_path):
    text = "\n\n".join(f"Paragraph {number}. " + "so " * 200 for number in range(300))
    (tmp_path / "a.txt").write_text("\ufeff" + text)
    split = read(tmp_path / "a.txt")
    assert sum(map(len, split.training + split.held_out)) == len(text)
    assert 1 <= len(split.held_out) <= 10


def test_identity_is_the_content(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(LINES)
    identities = [
        open_corpus(f"file:{tmp_path / name}", hub_characters=1, reasoning_characters=1).identity()
        for name in ("a.jsonl", "b.jsonl")
    ]
    assert identities[0] == identities[1]
    (tmp_path / "b.jsonl").write_text(
        LINES.replace("naïve", "knave").replace("na\\u00efve", "knave")
    )
    assert (
        open_corpus(
            f"file:{tmp_path / 'b.jsonl'}", hub_characters=1, reasoning_characters=1
        ).identity()
        != identities[0]
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b'{"text": "  "}\n', "is empty"),
        ("a.jsonl", b'{"text": "x"}\nnot json\n', "cannot be read"),
        ("a.jsonl", b'{"text": "x"}\n{"body": "x"}\n', "line 2: has no field `text`"),
        ("a.jsonl", b'{"text": 3}\n', "line 1: has no field `text`"),
        ("a.jsonl", b'["x"]\n', "line 1: has no field `text`"),
        ("a.jsonl", b'{"text": "\xff"}\n', "cannot be read"),
        ("a.jsonl.gz", b"not gzip", "cannot be read"),
        ("a.jsonl.gz", gzip.compress(LINES.encode())[:-100], "cannot be read"),
        ("a.parquet", b"not parquet", "cannot be read"),
        ("a.txt", b"\xff\xfe", "cannot be read"),
        ("a.txt", b"", "is empty"),
        ("a.csv", b"x", r"not one of \.txt, \.jsonl"),
    ],
)
def test_bad_files_give_one_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        read(path)
    assert "\n" not in str(raised.value)
    assert name in str(raised.value)


@pytest.mark.parametrize("table", [{"body": ["x"]}, {"text": [1]}])
def test_parquet_without_text(tmp_path, table):
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="column `text`"):
        read(tmp_path / "a.parquet")


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*nowhere\.txt"):
        read(tmp_path / "nowhere.txt")


def test_books(shared):
    """104 long books: held out by piece, two percent of 48 MB."""
    split = read(shared / "corpora" / "books_48mb.jsonl.gz")
    (counts,) = split.counts.values()
    assert counts["documents"] == 104
    held_out, training = (sum(map(len, part)) for part in (split.held_out, split.training))
    assert 0.01 < held_out / (held_out + training) < 0.03
    assert max(map(len, split.held_out)) <= 4000
