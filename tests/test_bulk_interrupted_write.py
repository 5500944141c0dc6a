"""An interruption that falls on the writing of a part: what was scored of it is kept."""

from __future__ import annotations

import pytest

pytest.importorskip("pyarrow")

from eliq.bulk import engine
from tests.bulk_sets import rows_of, run_inline, write_folder
from tests.test_bulk_going_on import opened_by


@pytest.mark.parametrize("thumbnails", [True, False])
def test_ctrl_c_while_a_part_is_written_costs_no_image(
    tiny_scorer, tmp_path, monkeypatch, thumbnails
):
    folder, out = write_folder(tmp_path / "images", 5), tmp_path / "out"
    options = {"part_size": 3, "thumbnails": thumbnails}
    write_part = engine.write_part

    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "write_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_inline(tiny_scorer, folder, out, **options)
    monkeypatch.setattr(engine, "write_part", write_part)
    assert opened_by(tiny_scorer, folder, out, **options) == ["00003.png", "00004.png"]
    run_inline(tiny_scorer, folder, tmp_path / "whole", **options)
    assert rows_of(out) == rows_of(tmp_path / "whole")
    assert not list((out / "unfinished").glob("*"))
