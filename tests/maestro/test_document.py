"""Documents that remember their lines."""

import json

import pytest

from maestro.document import dotted, parse_document, read_document
from maestro.errors import InvalidInputError


def test_that_every_key_and_item_has_its_line():
    document = parse_document("a: 1\nb:\n  - x\n  - c: {d: 2}\n", "f.yaml")
    assert document.data == {"a": 1, "b": ["x", {"c": {"d": 2}}]}
    assert document.line_of(("b", 0)) == 3
    assert document.line_of(("b", 1, "c", "d")) == 4
    assert document.line_of(("b", 1, "missing")) == 4


def test_that_json_keeps_its_lines_too():
    document = parse_document('{\n "a": [\n  1,\n  2]\n}', "f.json")
    assert document.data == {"a": [1, 2]}
    assert document.line_of(("a", 1)) == 4


def test_that_an_alias_stands_for_its_anchor():
    assert parse_document("a: &x {b: 1}\nc: *x\n", "f").data == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"f:1: the document is empty"),
        ("a: [1\nb: 2", r"f:2: is not valid YAML"),
        ("a: 1\nb: 2\na: 3", r"f:3: a: the key stands here twice \(first on line 1\)"),
        ("a: 1\n---\nb: 2", r"f:2: is not valid YAML"),
        ("? [1]\n: 2", r"f:1: a key must be plain text"),
        ("a: !!python/object:os.system x", r"f:1: is not valid YAML"),
        ("a: *nope", r"f:1: is not valid YAML"),
        ("a: \x00", r"f: is not valid YAML"),
    ],
)
def test_that_malformed_text_is_refused_with_its_line(text, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_document(text, "f")


def test_that_duplicate_keys_are_refused_in_json():
    with pytest.raises(InvalidInputError, match=r"f.json:2: a: the key stands here twice"):
        parse_document('{"a": 1,\n"a": 2}', "f.json")


@pytest.mark.parametrize("text", ["[" * 100 + "]" * 100, "[" * 600, "&a [*a]"])
def test_that_endless_nesting_is_refused(text):
    with pytest.raises(InvalidInputError, match="nested too deeply"):
        parse_document(text, "f")


def test_that_aliases_cannot_blow_up_a_small_file():
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(InvalidInputError, match="too large once its aliases are expanded"):
        parse_document("\n".join(["l0: &l0 [x]", *levels]), "f")


def test_that_a_large_json_file_is_read_by_the_fast_parser():
    data = {"stages": [{"id": f"s{n}", "after": [f"s{n - 1}"] if n else []} for n in range(10_000)]}
    assert parse_document(json.dumps(data), "f.json").data == data


def test_that_missing_and_binary_files_are_named(tmp_path):
    with pytest.raises(InvalidInputError, match=r"nope.yaml: cannot be read: No such file"):
        read_document(tmp_path / "nope.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInputError, match="is not UTF-8 text"):
        read_document(tmp_path / "binary")


def test_that_paths_are_written_as_people_read_them():
    assert dotted(("fleet", "clusters", 0, "name")) == "fleet.clusters[0].name"
