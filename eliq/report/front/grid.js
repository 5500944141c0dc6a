// The grid of all listed images. Only tiles in sight exist; the rest is height.

const GAP_PX = 10;
const OVERSCAN_PX = 500;
const grid = { rows: [], columns: 1, tileWidth: 0, rowHeight: 0, tiles: new Map(), spare: [], focus: 0 };

function measureGrid() {
  const wanted = Number($("size").value);
  const width = $("grid").clientWidth;
  grid.columns = Math.max(1, Math.floor((width + GAP_PX) / (wanted + GAP_PX)));
  grid.tileWidth = Math.floor((width + GAP_PX) / grid.columns) - GAP_PX;
  grid.hasWords = grid.tileWidth >= 130;
  grid.pictureHeight = Math.round(grid.tileWidth * 0.92);
  grid.rowHeight = grid.pictureHeight + 29 + (grid.hasWords ? 38 : 0) + GAP_PX;
  $("grid").style.height = `${Math.ceil(grid.rows.length / grid.columns) * grid.rowHeight}px`;
}

/** List other rows, or the same ones in another order. */
function listRows(rows) {
  grid.rows = rows;
  // Among others the dropped ones stand back; alone they are what one wants to see.
  $("grid").classList.toggle("is-only-dropped", state.show === "dropped");
  grid.focus = Math.min(grid.focus, Math.max(0, rows.length - 1));
  measureGrid();
  for (const [place, tile] of grid.tiles) release(place, tile);
  showTiles();
}

function release(place, tile) {
  grid.tiles.delete(place);
  tile.hidden = true;
  tile.parentElement.remove();
  grid.spare.push(tile);
}

/** Put tiles where the window looks, and take those away that it has left. */
function showTiles() {
  const root = $("grid");
  const top = -root.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor((top - OVERSCAN_PX) / grid.rowHeight)) * grid.columns;
  const after = top + window.innerHeight + OVERSCAN_PX;
  const last = Math.min(grid.rows.length, Math.ceil(after / grid.rowHeight) * grid.columns);
  for (const [place, tile] of grid.tiles) {
    if ((place < first || place >= last) && tile !== document.activeElement) release(place, tile);
  }
  for (let place = first; place < last; place++) {
    const tile = grid.tiles.get(place) ?? takeTile(place);
    fillTile(tile, grid.rows[place], {
      large: grid.tileWidth >= LARGE_TILE_PX, digits: grid.tileWidth < 150 ? 2 : 3,
    });
    const row = Math.floor(place / grid.columns);
    const left = (place % grid.columns) * (grid.tileWidth + GAP_PX);
    tile.style.transform = `translate(${left}px, ${row * grid.rowHeight}px)`;
    tile.style.width = `${grid.tileWidth}px`;
    tile.parts.picture.style.height = `${grid.pictureHeight}px`;
    tile.parts.words.hidden = !grid.hasWords;
    tile.tabIndex = place === grid.focus ? 0 : -1;
  }
  if (!grid.tiles.has(grid.focus) && first < last) {
    grid.tiles.get(first).tabIndex = 0; // Tab always finds a way in
  }
}

function takeTile(place) {
  let tile = grid.spare.pop();
  if (!tile) {
    tile = makeTile();
    const item = element("div");
    item.setAttribute("role", "listitem");
    item.appendChild(tile);
  }
  // In the document in the order of the list, for who reads or tabs through it; places are taken
  // in ascending order, so the one before is there already, or this is the first.
  const before = grid.tiles.get(place - 1);
  if (before) before.parentElement.after(tile.parentElement);
  else $("grid").prepend(tile.parentElement);
  tile.hidden = false;
  tile.place = place;
  tile.parentElement.setAttribute("aria-setsize", grid.rows.length);
  tile.parentElement.setAttribute("aria-posinset", place + 1);
  grid.tiles.set(place, tile);
  return tile;
}

/** Move the focus to a place of the list and scroll it into sight. */
function focusTile(place) {
  if (!grid.rows.length) return;
  grid.focus = Math.min(grid.rows.length - 1, Math.max(0, place));
  const above = $("grid").getBoundingClientRect().top + window.scrollY;
  const top = above + Math.floor(grid.focus / grid.columns) * grid.rowHeight;
  const covered = document.querySelector(".toolbar").getBoundingClientRect();
  const room = covered.top <= 0 ? Math.max(0, covered.bottom) : 0;
  if (top < window.scrollY + room) window.scrollTo(0, top - room - GAP_PX);
  const bottom = top + grid.rowHeight;
  if (bottom > window.scrollY + window.innerHeight) window.scrollTo(0, bottom - window.innerHeight + 60);
  showTiles();
  grid.tiles.get(grid.focus)?.focus({ preventScroll: true });
}

function setUpGrid() {
  let waits = false;
  const soon = () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => {
      waits = false;
      showTiles();
    });
  };
  window.addEventListener("scroll", soon, { passive: true });
  $("grid").addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    grid.focus = tile.place;
    openView(tile.row, grid.rows, listWords(), tile.place);
  });
  $("grid").addEventListener("focusin", (event) => {
    const tile = event.target.closest(".tile");
    if (tile) grid.focus = tile.place;
  });
  $("grid").addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -grid.columns, ArrowDown: grid.columns,
      Home: -Infinity, End: Infinity };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    focusTile(grid.focus + moves[event.key]);
  });
}

/** Thumbnails inside this file stand last in it: those not yet read are shown when they are. */
function retryThumbnails() {
  chunks.clear();
  for (const tile of document.querySelectorAll(".tile")) {
    if (!tile.hidden && tile.lacksPicture && tile.row !== null) {
      const row = tile.row;
      tile.row = null;
      fillTile(tile, row, { large: tile.isLarge, digits: tile.digits });
    }
  }
}
