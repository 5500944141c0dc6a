"""Makes folders of damaged and hostile image files, for trying a run over thousands of them.

    python -m tests.hostile_files FOLDER --count 10000

Most are mutants: good pictures in 16 encodings, cut short, with flipped bits, with pieces missing,
added or overwritten. The rest are made by hand (`tests/hostile_images.py`), or are no files at all:
pipes, links that lead nowhere or in a circle, sockets, files nobody may read, endless devices,
names with line ends, with bytes that are no UTF-8, of full length. Beside some lies a prompt that
never ends. The same count and seed give the same set.

Hardware: Unix, for the pipes and links. 10,000 files: about 20 s and 100 MB.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.hostile_images import CRAFTED, HEAVY, picture, save
from tests.test_image_fuzz import encode, mutate

__all__ = ["HostileSet", "make_hostile_files"]

_SUFFIXES = (".png", ".jpg", ".JPEG", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")
_SPARSE_BYTES = 3 << 30  # of zeros, that take no room on the disk


@dataclass(frozen=True)
class HostileSet:
    """What was made.

    Attributes:
        folder: where.
        names: bytes, relative to the folder: what has a picture's suffix and is no directory.
        directories: the same of directories that are named like pictures.
    """

    folder: Path
    names: tuple[bytes, ...]
    directories: tuple[bytes, ...]


def make_hostile_files(
    folder: Path, count: int, *, seed: int = 0, heavy: bool = True, per_folder: int = 2000
) -> HostileSet:
    """``count`` files with the suffix of a picture below ``folder``, hostile in mixed ways.

    Args:
        count: at least 150, so that each kind is there.
        heavy: with the files that cost seconds or gigabytes of a reader that is not careful.
        per_folder: files of one directory.
    """
    rng = random.Random(seed)
    names: list[bytes] = []
    folder.mkdir(parents=True, exist_ok=True)
    odd = list(_odd_files(folder / "odd"))
    names += [b"odd/" + name for name in odd]
    crafted = [*CRAFTED.items(), *(HEAVY.items() if heavy else ())]
    for name, make in crafted:
        names.append(_write(folder / "crafted", f"{name}{rng.choice(_SUFFIXES)}", make(rng)))
    if heavy:
        names += [b"crafted/" + name for name in _sparse_files(folder / "crafted")]
    encoded = {**encode(), **_more_encodings()}
    kinds = sorted(encoded)
    cheap = [make for make in CRAFTED.values()]
    while len(names) < count:
        i = len(names)
        directory = folder / f"{i // per_folder:03d}"
        # One in eight is made by hand again, with other pixels and under another suffix.
        if i % 8 == 0:
            content, label = cheap[i // 8 % len(cheap)](rng), "crafted"
        else:
            label = kinds[i % len(kinds)]
            content = mutate(encoded[label], rng)
        names.append(_write(directory, f"{i:06d}-{label}{rng.choice(_SUFFIXES)}", content))
    return HostileSet(folder, tuple(names), (b"odd/directory.png",))


def _more_encodings() -> dict[str, bytes]:
    """Larger than those of the fuzz test, so that damage meets more than one strip or scan."""
    large = picture(random.Random(1), 200, 160)
    return {
        "large_jpeg": save(large, "JPEG", progressive=True),
        "large_webp": save(large, "WEBP", lossless=True),
    }


def _write(directory: Path, name: str, content: bytes) -> bytes:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(content)
    return os.fsencode(f"{directory.name}/{name}")


def _sparse_files(folder: Path) -> Iterator[bytes]:
    """Gigabytes that a reader must not take into memory."""
    header = save(picture(random.Random(2)), "PNG")
    at = header.index(b"IDAT") - 4
    starts = {
        b"sparse.png": b"",
        b"sparse-text.png": header[:at] + b"\x7f\xff\xff\xfftEXt",
        b"sparse-unknown.png": header[:at] + b"\x7f\xff\xff\xffxxXx",
        b"sparse-tail.png": header,  # a good picture, with much behind it
        b"sparse.ppm": b"P6\n#",
        b"sparse.jpg": b"\xff\xd8",
        b"sparse.gif": b"GIF89a\x30\0\x30\0\0\0\0!\xfe",
    }
    for name, start in starts.items():
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:
            file.write(start)
            file.truncate(_SPARSE_BYTES)
        yield name


def _odd_files(folder: Path) -> Iterator[bytes]:
    """What is no ordinary file, or has no ordinary name."""
    folder.mkdir(parents=True, exist_ok=True)
    good = save(picture(random.Random(3)), "PNG")
    (folder / "directory.png").mkdir(exist_ok=True)
    plain: dict[bytes, bytes] = {
        b"good.png": good,
        b"line\nend.png": good,
        b"tab\tand\rreturn.png": good,
        b" space at both ends .png": good,
        b"-rf --json.png": good,
        b"$(touch x);`id`.png": good,
        b"<script>alert(1)<.png": good,
        b"\"quotes\",'and',commas.png": good,
        "e\u0301 (two characters).png".encode(): good,
        "\u202egnp.\u05d0 backwards.png".encode(): good,
        "\U0001f98a\u200d\U0001f98a.png".encode(): good,
        b"not utf-8 \xff\xfe\x80.png": good,
        b"escape \x1b[31m red.png": good,
        b"%s%n%x{}{0}.png": good,
        b"~": b"",
        b"n" * 251 + b".png": good,
        b"\xff" * 251 + b".jpg": good[:60],
        b"nobody may read.png": good,
        b"url http:.png": good,
        b"prompt that is no text.png": good,
        b"prompt of a pipe.png": good,
        b"prompt without end.png": good,
        b"prompt of a directory.png": good,
        b"prompt of 30 MB.png": good,
        b"prompt of half a character.png": good,
    }
    root = os.fsencode(folder)
    for name, content in plain.items():
        with open(root + b"/" + name, "wb") as file:
            file.write(content)
        if name != b"~":
            yield name
    os.chmod(root + b"/nobody may read.png", 0)
    links = {
        b"loop.png": b"loop.png",
        b"loop-a.jpg": b"loop-b.jpg",
        b"loop-b.jpg": b"loop-a.jpg",
        b"leads nowhere.png": b"gone/for/good.png",
        b"zeros without end.png": b"/dev/zero",
        b"noise without end.jpg": b"/dev/urandom",
        b"a second name.png": b"good.png",
    }
    for name, target in links.items():
        _unlink(root + b"/" + name)
        os.symlink(target, root + b"/" + name)
        yield name
    _unlink(root + b"/pipe.png")
    os.mkfifo(root + b"/pipe.png")
    yield b"pipe.png"
    if _bind(folder, "socket.png"):
        yield b"socket.png"
    _odd_prompts(folder)


def _odd_prompts(folder: Path) -> None:
    """Texts beside pictures, which a reader takes for their prompts."""
    (folder / "prompt that is no text.txt").write_bytes(bytes(range(256)) * 20)
    (folder / "prompt of half a character.txt").write_bytes("caf\u00e9".encode()[:-1])
    (folder / "prompt of 30 MB.txt").write_bytes(b"word " * 6_000_000)
    (folder / "prompt of a directory.txt").mkdir(exist_ok=True)
    for name in ("prompt of a pipe.txt", "prompt without end.txt"):
        _unlink(os.fsencode(folder / name))
    os.mkfifo(folder / "prompt of a pipe.txt")
    os.symlink("/dev/zero", folder / "prompt without end.txt")


def _bind(folder: Path, name: str) -> bool:
    """A Unix socket as a file; its address may be too long where the folder lies deep."""
    _unlink(os.fsencode(folder / name))
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(folder)
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(name)
        return True
    except OSError:
        return False
    finally:
        os.fchdir(here)
        os.close(here)


def _unlink(path: bytes) -> None:
    if os.path.lexists(path):
        os.unlink(path)


def main(arguments: list[str] | None = None) -> int:
    """Makes a set; says how many files it has on stderr."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile_files")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--light", action="store_true", help="without files that cost much")
    options = parser.parse_args(arguments)
    made = make_hostile_files(
        options.folder, options.count, seed=options.seed, heavy=not options.light
    )
    sys.stderr.write(f"{len(made.names)} files below {made.folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
