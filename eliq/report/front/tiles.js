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
  const showNumber = (place, value, digits) => {
    place.textContent = isNaN(value) ? "" : shown(value, digits);
    place.parentElement.hidden = isNaN(value); // no score: no dot, and no sign to be read as one
  };
  const quality = number("quality-dot");
  const alignment = number("alignment-dot");
  const mark = line.appendChild(element("span", "mark"));
  const words = tile.appendChild(element("span", "words"));
  words.dir = "auto";
  tile.parts = { picture, image, none, quality, alignment, mark, words, showNumber };
  tile.row = null;
  return tile;
}

function fillTile(tile, row, { large = false, digits = 3 } = {}) {
  const { image, none, quality, alignment, words, showNumber } = tile.parts;
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
    none.textContent = error ? `Not scored: ${error.slice(0, 300)}` : "no thumbnail";
    none.classList.toggle("is-reason", Boolean(error));
    tile.lacksPicture = small === null && !original;
    showNumber(quality, score.visual_quality[row], digits);
    showNumber(alignment, score.alignment[row], digits);
    const name = visible(nameOf(row));
    // Where there is a picture, there is no room in it for the reason.
    words.textContent = error ? (small === null ? name : `${name}: ${error.slice(0, 300)}`)
      : promptOf(row)?.slice(0, 300) || name;
    tile.title = error ? `${name}\nNot scored: ${error}` : "";
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
  tile.parts.mark.textContent = flags + { kept: "✓", dropped: "✕", failed: "!" }[word];
  const said = word === "failed" ? "not scored" : word;
  tile.parts.mark.title = said;
  const numberOf = (name) => (isNaN(score[name][row]) ? "none" : shown(score[name][row]));
  const scores = `visual quality ${numberOf("visual_quality")}, alignment ${numberOf("alignment")}`;
  tile.setAttribute("aria-label", `${visible(nameOf(row))}: ${scores}, ${said}`);
}
