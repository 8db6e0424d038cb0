"""Claims about the comments in proto/: whoever reads the contract is told what each part of it means."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

Place = tuple[int, ...]  # where protoc says a thing is: numbers of fields and positions in them, from the file down

MESSAGES = FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER
ENUMS = FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER
SERVICES = FileDescriptorProto.SERVICE_FIELD_NUMBER
FIELDS = DescriptorProto.FIELD_FIELD_NUMBER
INNER_MESSAGES = DescriptorProto.NESTED_TYPE_FIELD_NUMBER
INNER_ENUMS = DescriptorProto.ENUM_TYPE_FIELD_NUMBER
VALUES = EnumDescriptorProto.VALUE_FIELD_NUMBER
METHODS = ServiceDescriptorProto.METHOD_FIELD_NUMBER


def compiled(folder: Path, files: list[Path], output: Path) -> list[FileDescriptorProto]:
    """Compile proto files below ``folder``, comments included."""
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", "--include_source_info"),
            f"--descriptor_set_out={output}",
            *map(str, files),
        ],
        check=True,
        capture_output=True,
    )
    return list(FileDescriptorSet.FromString(output.read_bytes()).file)


def message_parts(name: str, place: Place, message: DescriptorProto) -> Iterator[tuple[str, Place]]:
    """List a message, its fields, and what is declared inside it."""
    if message.options.map_entry:  # protoc makes it for a map; nobody wrote it
        return
    yield name, place
    for position, field in enumerate(message.field):
        yield f"{name}.{field.name}", (*place, FIELDS, position)
    for position, inner in enumerate(message.nested_type):
        yield from message_parts(f"{name}.{inner.name}", (*place, INNER_MESSAGES, position), inner)
    for position, enum in enumerate(message.enum_type):
        yield from enum_parts(f"{name}.{enum.name}", (*place, INNER_ENUMS, position), enum)


def enum_parts(name: str, place: Place, enum: EnumDescriptorProto) -> Iterator[tuple[str, Place]]:
    """List an enum and its values."""
    yield name, place
    for position, value in enumerate(enum.value):
        yield f"{name}.{value.name}", (*place, VALUES, position)


def parts(file: FileDescriptorProto) -> Iterator[tuple[str, Place]]:
    """List everything in a file that a reader can look up, each with its place."""
    for position, message in enumerate(file.message_type):
        yield from message_parts(message.name, (MESSAGES, position), message)
    for position, enum in enumerate(file.enum_type):
        yield from enum_parts(enum.name, (ENUMS, position), enum)
    for position, service in enumerate(file.service):
        yield service.name, (SERVICES, position)
        for number, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", (SERVICES, position, METHODS, number)


def bare(file: FileDescriptorProto) -> list[str]:
    """Name the parts of a file without a comment of their own."""
    locations = file.source_code_info.location
    commented = {tuple(at.path) for at in locations if (at.leading_comments + at.trailing_comments).strip()}
    return [name for name, place in parts(file) if place not in commented]


def test_every_part_of_the_contract_has_a_comment(repository: Path, tmp_path: Path) -> None:
    """Tests that no message, field, enum, value or method is left to guesses."""
    folder = repository / "proto"
    files = compiled(folder, sorted(folder.rglob("*.proto")), tmp_path / "contract")
    assert files
    assert {file.name: bare(file) for file in files if bare(file)} == {}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("message Bare {}", "Bare"),
        ("// A message.\nmessage Box {\n  int32 bare = 1;\n}", "Box.bare"),
        ("// A message.\nmessage Box {\n  // Two.\n  int32 first = 1;\n  int32 bare = 2;\n}", "Box.bare"),
        ("// A message.\nmessage Box {\n  message Bare {}\n}", "Box.Bare"),
        ("// An enum.\nenum Kind {\n  BARE = 0;\n}", "Kind.BARE"),
        ("enum Bare {\n  // Never sent.\n  NONE = 0;\n}", "Bare"),
    ],
)
def test_a_part_without_a_comment_is_found(text: str, name: str, tmp_path: Path) -> None:
    """Tests that the claim above can fail."""
    source = tmp_path / "small.proto"
    source.write_text(f'syntax = "proto3";\n\n{text}\n')
    [file] = compiled(tmp_path, [source], tmp_path / "contract")
    assert bare(file) == [name]
