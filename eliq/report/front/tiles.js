// One small picture with its scores: in the grid and in the strips.

const LARGE_TILE_PX = 216; // from this width on a thumbnail looks soft: the original is shown

const goneFolders = new Set(); // originals that have moved away: asked for once a folder

/** Show an address in an <img>, or nothing; a file that is gone leaves no broken picture behind. */
function showPicture(image, ...addresses) {
  const [address, ...others] = addresses.filter((each) => each !== null);
  image.onerror = () => {
    if (others.length) goneFolders.add(address.slice(0, address.lastIndexOf("/")));
    showPicture(image, ...others);
  };
  image.hidden = !address;
  const around = image.parentElement;
  around?.classList.toggle("is-bare", !address);
  if (address) image.src = address;
  else image.removeAttribute("src");
}

function makeTile() {
  const tile = element("button", "tile");
  tile.type = "button";
  const picture = tile.appendChild(element("span", "picture"));
  const image = picture.appendChild(element("img"));
  image.alt = "";
  image.decoding = "async";
  image.draggable = false;
  const none = picture.appendChild(element("span", "no-picture"));
  const line = tile.appendChild(element("span", "numbers"));
  const number = (kind) => {
    const around = line.appendChild(element("span"));
    around.appendChild(element("i", kind));
    return around.appendChild(element("b"));
  };
  const quality = number("quality-dot");
  const alignment = number("alignment-dot");
  const mark = line.appendChild(element("span", "mark"));
  const words = tile.appendChild(element("span", "words"));
  words.dir = "auto";
  tile.parts = { picture, image, none, quality, alignment, mark, words };
  tile.row = null;
  return tile;
}

function fillTile(tile, row, { large = false, digits = 3 } = {}) {
  const { image, none, quality, alignment, words } = tile.parts;
  if (tile.row !== row || tile.isLarge !== large || tile.digits !== digits) {
    tile.row = row;
    tile.isLarge = large;
    tile.digits = digits;
    const error = errorOf(row);
    const wanted = large && !error && isShown(row) ? originalOf(row) : null;
    const isGone = wanted !== null && goneFolders.has(wanted.slice(0, wanted.lastIndexOf("/")));
    const original = isGone ? null : wanted;
    const small = thumbnailOf(row);
    showPicture(image, original, small);
    none.textContent = error ? "not scored" : "no thumbnail";
    tile.lacksPicture = small === null && !original;
    quality.textContent = shown(score.visual_quality[row], digits);
    alignment.textContent = shown(score.alignment[row], digits);
    const text = error ?? promptOf(row);
    words.textContent = text ? text.slice(0, 300) : visible(nameOf(row));
  }
  markTile(tile);
}

/** Whether the image is kept: in words and a sign, not by colour alone. */
function markTile(tile) {
  const { row } = tile;
  const word = kept[row] ? "kept" : isScored[row] ? "dropped" : "failed";
  if (tile.word === word && tile.labelled === row) return;
  tile.word = word;
  tile.labelled = row;
  tile.classList.toggle("is-kept", word === "kept");
  tile.classList.toggle("is-dropped", word === "dropped");
  tile.classList.toggle("is-failed", word === "failed");
  const flags = flagsOf(row).length ? "⚑ " : "";
  tile.parts.mark.textContent = flags + { kept: "✓", dropped: "–", failed: "✕" }[word];
  const scores = `visual quality ${shown(score.visual_quality[row])}, ` +
    `alignment ${shown(score.alignment[row])}`;
  const said = word === "failed" ? "not scored" : word;
  tile.setAttribute("aria-label", `${visible(nameOf(row))}: ${scores}, ${said}`);
}
