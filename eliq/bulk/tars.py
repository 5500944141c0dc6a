"""WebDataset tars: which images a tar holds, with the prompts that lie beside them.

Members that share a name up to the first dot of its last part are one sample; its ``.txt``, or
the ``prompt``, ``caption`` or ``text`` of its ``.json``, is the prompt of its images. The tars
are read where they lie and never written.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterator

from ..errors import BulkError
from .items import IMAGE_SUFFIXES, Item, SubPart
from .prompt_texts import MOST_PROMPT_BYTES, bounded_prompt, decoded_beginning
from .tar_reader import TarMember, iterate_members, read_member

__all__ = ["count_images", "find_tars", "tar_digest", "tar_subparts"]

_PROMPT_KEYS = ("prompt", "caption", "text")
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


def find_tars(source: str) -> list[str]:
    """Sorted tars: one .tar, a pattern (``shards/*.tar``, ``shards-{0000..0099}.tar``), a folder.

    Raises:
        BulkError: none found, or one of a range of numbers is missing.
    """
    if os.path.isdir(source):
        found = [os.path.join(source, name) for name in os.listdir(source)]
        return sorted(path for path in found if path.endswith(".tar") and os.path.isfile(path))
    if braces := _BRACES.search(source):
        first, last = braces.groups()
        numbers = range(int(first), int(last) + 1)
        if len(numbers) > 1_000_000:
            raise BulkError(f"{source}: expected a range of at most a million tars")
        paths = [_BRACES.sub(str(n).zfill(len(first)), source, count=1) for n in numbers]
        missing = [path for path in paths if not os.path.isfile(path)]
        if missing or not paths:
            raise BulkError(f"{source}: no such tar: {missing[0] if missing else source}")
        return paths
    if os.path.isfile(source):
        return [source]
    paths = sorted(path for path in glob.glob(source) if os.path.isfile(path))
    if not paths:
        raise BulkError(f"{source}: no such tar")
    return paths


def tar_digest(path: str, take: int | None, index: int, part_size: int) -> str:
    """What a sub-part of a tar is known by: changed tars differ, without being read."""
    try:
        status = os.stat(path)
        state = (status.st_size, status.st_mtime_ns)
    except OSError:
        state = (-1, -1)
    facts = (os.path.abspath(path), *state, take, index, part_size)
    return hashlib.sha256(repr(facts).encode("utf-8", "backslashreplace")).hexdigest()


def tar_subparts(
    path: str, unit: int, *, shard: str, part_size: int, take: int | None, prompt: str | None
) -> Iterator[SubPart]:
    """The images of a tar, ``part_size`` at a time; a tar without any gives one empty part.

    Args:
        shard: the tar's name in the result.
        take: only the first so many images.
        prompt: of every image, instead of the tar's own.
    """
    waiting: list[Item] = []
    index = 0

    def subpart(is_last: bool) -> SubPart:
        digest = tar_digest(path, take, index, part_size)
        return SubPart(unit, index, tuple(waiting), digest, is_last)

    for num_found, item in enumerate(_items(path, shard, prompt)):
        if take is not None and num_found >= take:
            break
        if len(waiting) == part_size:
            yield subpart(is_last=False)
            waiting, index = [], index + 1
        waiting.append(item)
    yield subpart(is_last=True)


def count_images(path: str, at_most: int | None = None) -> int:
    """How many rows a tar gives, from its headers: one an image, and one where it is damaged."""
    count = 0
    try:
        for member in iterate_members(path):
            count += _is_image(member.name)
            if at_most is not None and count >= at_most:
                return count
    except BulkError:
        count += 1
    return count


def _items(path: str, shard: str, prompt: str | None) -> Iterator[Item]:
    """One item an image; ids are ``shard/member``, a name that comes again gets ``#2``.

    Where a tar is damaged the images before that place come, and then one item that says so.
    """
    seen: dict[str, int] = {}
    sample: list[TarMember] = []
    problem: str | None = None
    try:
        for member in iterate_members(path):
            if sample and _key(member.name) != _key(sample[0].name):
                yield from _sample_items(path, shard, sample, prompt, seen)
                sample = []
            sample.append(member)
    except BulkError as error:
        problem = str(error)
    if sample:
        yield from _sample_items(path, shard, sample, prompt, seen)
    if problem is not None:
        yield Item(id=f"{shard}#damaged", path=path, shard=shard, problem=problem)


def _sample_items(
    path: str, shard: str, sample: list[TarMember], prompt: str | None, seen: dict[str, int]
) -> Iterator[Item]:
    images = [member for member in sample if _is_image(member.name)]
    if not images:
        return
    flags: tuple[str, ...] = ()
    text, source = prompt, "option"
    if prompt is None:
        text, flags = _prompt(path, sample)
        source = "tar"
    for member in images:
        seen[member.name] = count = seen.get(member.name, 0) + 1
        yield Item(
            id=f"{shard}/{member.name}" + (f"#{count}" if count > 1 else ""),
            path=path,
            prompt=text,
            prompt_source=None if text is None else source,
            shard=shard,
            member=member.name,
            offset=member.offset,
            size=member.size,
            flags=flags,
        )


def _prompt(path: str, sample: list[TarMember]) -> tuple[str | None, tuple[str, ...]]:
    """The sample's text, and flags; one that is no UTF-8, or no JSON, is none."""
    flags: tuple[str, ...] = ()
    for suffix, text_of in ((".txt", decoded_beginning), (".json", _text_of_json)):
        for member in sample:
            if member.name.lower().endswith(suffix):
                data = read_member(path, member.offset, min(member.size, MOST_PROMPT_BYTES))
                try:
                    text, cut = bounded_prompt(text_of(data))
                except (ValueError, RecursionError):
                    flags = ("prompt_unreadable",)
                    continue
                if text:
                    return text, flags + cut
    return None, flags


def _text_of_json(data: bytes) -> str:
    found = json.loads(data.decode("utf-8-sig"))
    texts = [found.get(key) for key in _PROMPT_KEYS] if isinstance(found, dict) else []
    return next((text.strip() for text in texts if isinstance(text, str)), "")


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.rpartition("/")[2].startswith(".")


def _key(name: str) -> str:
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"
