// What the page shows: the rows, read from the data block of this file. Nothing is fetched.
//
// All words in it (paths, prompts, errors) come from files that nobody vouches for. They reach the
// page as text nodes only; the page's policy forbids markup made from strings.

const $ = (id) => document.getElementById(id);
const SCORES = ["visual_quality", "alignment"];
const SCORE_WORDS = { visual_quality: "visual quality", alignment: "alignment" };
const STEPS = 200; // thresholds lie on multiples of 1/200

const DATA = JSON.parse($("data").textContent);
const NUM_ROWS = DATA.num_rows;
const IS_SAMPLE = NUM_ROWS < DATA.totals.images;

/** A column as a function of the row: it is stored whole, as one constant, or as a table and indices. */
function column(name) {
  const stored = DATA.columns[name];
  if (!stored) return () => null;
  if ("constant" in stored) return () => stored.constant;
  if (stored.index) return (row) => stored.table[stored.index[row]];
  return (row) => stored.values[row];
}

/** A column of numbers; what is missing is NaN, which no comparison lets pass. */
function numbers(name) {
  const value = column(name);
  return Float64Array.from({ length: NUM_ROWS }, (_, row) => value(row) ?? NaN);
}

const score = { visual_quality: numbers("visual_quality"), alignment: numbers("alignment") };
const promptOf = column("prompt");
const nameOf = column("name");
const folderOf = column("folder"); // {path, href}
const flagsOf = column("flags"); // a list of words, possibly empty
const errorOf = column("error");
const isScored = Uint8Array.from({ length: NUM_ROWS }, (_, row) => !isNaN(score.visual_quality[row]));
const withoutThumbnail = new Set(DATA.thumbnails.missing);

const pathOf = (row) => folderOf(row).path + nameOf(row);

/** A path or name to be shown: exact ones go into exports, where they must open again. */
const visible = (text) => text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, "\ufffd")
  .replace(/[\u202a-\u202e\u2066-\u2069]/g, "");

/** The address of the original, relative to this page; null for what lies inside an archive. */
function originalOf(row) {
  const href = folderOf(row).href;
  return href === null ? null : href + encodeURIComponent(nameOf(row));
}

/** Formats that browsers show; of others the large view has the thumbnail alone. */
const isShown = (row) => /\.(png|jpe?g|webp|gif|avif|bmp|svg|jfif|ico|apng)$/i.test(nameOf(row));

const chunks = new Map();

/** The thumbnail's address: a file beside this page, or data inside it; null where there is none. */
function thumbnailOf(row) {
  const { mode, folder, per_chunk: perChunk } = DATA.thumbnails;
  if (mode === "none" || withoutThumbnail.has(row)) return null;
  if (mode === "files") return `${folder}/${Math.floor(row / 1000)}/${row}.jpg`;
  const number = Math.floor(row / perChunk);
  if (!chunks.has(number)) {
    const block = $(`thumbnails-${number}`); // they stand last in the file: perhaps not yet read
    if (!block) return null;
    chunks.set(number, block.textContent.split("\n"));
  }
  const base64 = chunks.get(number)[row % perChunk];
  return base64 ? `data:image/jpeg;base64,${base64}` : null;
}

/** A new element with a class and a text. */
function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== "") made.textContent = text;
  return made;
}

const count = (number) => number.toLocaleString("en");
const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "");
const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const shown = (number, digits = 3) => (isNaN(number) ? "–" : number.toFixed(digits));
