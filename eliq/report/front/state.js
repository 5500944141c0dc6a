// What the user chose, and which rows follow from it.
//
// considered: the filters let a row through. kept: considered, and both thresholds are reached.
// A threshold of 0 asks for nothing; a missing score reaches no other threshold.

// An image without a prompt misses every threshold of alignment but 0: the page begins with 0 where
// the run has one, so that nothing is dropped for that before somebody asked.
const numAligned = DATA.histograms.alignment.reduce((sum, each) => sum + each, 0);
const allAligned = numAligned > 0 && numAligned === DATA.totals.images - DATA.totals.failed;

const state = {
  least: { visual_quality: 0.5, alignment: allAligned ? 0.5 : 0 },
  words: [], // lower case; "-word" must not occur
  flags: new Map(), // flag -> "only" | "without"
  show: "all",
  sort: "visual_quality",
  descending: true,
};

const considered = new Uint8Array(NUM_ROWS).fill(1);
const kept = new Uint8Array(NUM_ROWS);
const totals = { considered: 0, kept: 0, dropped: 0, failed: 0, reach: {}, near: {} };

const isFiltered = () => state.words.length > 0 || state.flags.size > 0;

/** Whether one score reaches its threshold. */
function reaches(name, row) {
  const least = state.least[name];
  return least === 0 || score[name][row] >= least;
}

let haystack = null; // the text of each row in lower case, made at the first search

function textOf(row) {
  haystack ??= Array.from({ length: NUM_ROWS }, (_, each) =>
    `${promptOf(each) ?? ""}\n${pathOf(each)}`.normalize("NFC").toLowerCase());
  return haystack[row];
}

function passesFilters(row) {
  for (const [flag, want] of state.flags) {
    const has = flag === "" ? !isScored[row] : flagsOf(row).includes(flag);
    if (has !== (want === "only")) return false;
  }
  for (const word of state.words) {
    const unwanted = word.length > 1 && word.startsWith("-");
    if (textOf(row).includes(unwanted ? word.slice(1) : word) === unwanted) return false;
  }
  return true;
}

/** Apply the filters; orders of the considered rows by each score are kept for strips. */
function applyFilters() {
  for (let row = 0; row < NUM_ROWS; row++) considered[row] = passesFilters(row) ? 1 : 0;
  for (const name of SCORES) {
    ascending[name] = orderBy(name).filter((row) => considered[row] && !isNaN(score[name][row]));
  }
  countBins();
}

/** Apply the thresholds: who is kept, and the counts. */
function applyThresholds() {
  Object.assign(totals, { considered: 0, kept: 0, dropped: 0, failed: 0 });
  for (const name of SCORES) totals.reach[name] = totals.near[name] = 0;
  const whole = wholeCounts();
  const noise = DATA.about.noise;
  for (let row = 0; row < NUM_ROWS; row++) {
    kept[row] = considered[row] && isScored[row] && SCORES.every((name) => reaches(name, row)) ? 1 : 0;
    if (!considered[row]) continue;
    totals.considered += 1;
    if (!isScored[row]) totals.failed += 1;
    else if (kept[row]) totals.kept += 1;
    else totals.dropped += 1;
    for (const name of SCORES) {
      if (isScored[row] && reaches(name, row)) totals.reach[name] += 1;
      if (Math.abs(score[name][row] - state.least[name]) <= noise) totals.near[name] += 1;
    }
  }
  if (whole) Object.assign(totals, whole);
}

/** Exact counts of the whole run where this page holds only a part of its rows. */
function wholeCounts() {
  if (!IS_SAMPLE || isFiltered()) return null;
  const least = SCORES.map((name) => Math.round(state.least[name] * STEPS));
  const found = { considered: DATA.totals.images, failed: DATA.totals.failed, kept: 0 };
  found.reach = { visual_quality: 0, alignment: 0 };
  const cells = DATA.joint; // [quality step, alignment step or -1, images], one after another
  for (let at = 0; at < cells.length; at += 3) {
    const good = least[0] === 0 || cells[at] >= least[0];
    const aligned = least[1] === 0 || cells[at + 1] >= least[1];
    if (good) found.reach.visual_quality += cells[at + 2];
    if (aligned) found.reach.alignment += cells[at + 2];
    if (good && aligned) found.kept += cells[at + 2];
  }
  found.dropped = found.considered - found.failed - found.kept;
  return found;
}

// Orders: ascending by each key, what has no value last. Made once, when first asked for.
const ascending = { visual_quality: [], alignment: [] }; // of the considered rows
const orders = new Map();
const pathSort = new Intl.Collator("en", { numeric: true });

function keyOf(name, row) {
  const both = [score.visual_quality[row], score.alignment[row]].filter((each) => !isNaN(each));
  if (!both.length) return NaN;
  return name === "lower" ? Math.min(...both) : both.reduce((a, b) => a + b) / both.length;
}

function orderBy(name) {
  if (orders.has(name)) return orders.get(name);
  const rows = Array.from({ length: NUM_ROWS }, (_, row) => row);
  if (name === "path") {
    rows.sort((a, b) => pathSort.compare(pathOf(a), pathOf(b)));
  } else {
    const keys = score[name] ?? Float64Array.from(rows, (row) => keyOf(name, row));
    const known = rows.filter((row) => !isNaN(keys[row])).sort((a, b) => keys[a] - keys[b]);
    const unknown = rows.filter((row) => isNaN(keys[row]));
    rows.splice(0, rows.length, ...known, ...unknown);
    rows.num_known = known.length;
  }
  orders.set(name, rows);
  return rows;
}

/** The rows of the grid, in the order chosen; rows without the score come last either way. */
function listedRows() {
  const order = orderBy(state.sort);
  const numKnown = order.num_known ?? order.length;
  const passes = {
    all: (row) => considered[row],
    kept: (row) => kept[row],
    dropped: (row) => considered[row] && isScored[row] && !kept[row],
    failed: (row) => considered[row] && !isScored[row],
  }[state.show];
  const known = order.slice(0, numKnown).filter(passes);
  if (state.descending) known.reverse();
  return known.concat(order.slice(numKnown).filter(passes));
}

/** The score whose threshold the strips and the keys [ and ] are about. */
const mainScore = () => (state.sort === "alignment" ? "alignment" : "visual_quality");

/**
 * Thresholds lie on steps, so that counts of the whole run are exact and commands are short. What is
 * typed lies on finer ones, unless counts are of more rows than this page has.
 */
function snapped(value, isTyped = false) {
  const steps = isTyped && !IS_SAMPLE ? 1000 : STEPS;
  const inside = Math.min(1, Math.max(0, Number.isFinite(value) ? value : 0));
  return Math.round(inside * steps) / steps;
}

// Thresholds stay in the address, so that a reload, or whoever is sent it, finds them again.
const ADDRESS_NAMES = { quality: "visual_quality", alignment: "alignment" };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [word, name] of Object.entries(ADDRESS_NAMES)) {
    const value = given.get(word);
    if (value && Number.isFinite(Number(value))) state.least[name] = snapped(Number(value), true);
  }
}

function writeAddress() {
  const words = Object.entries(ADDRESS_NAMES).map(([word, name]) => `${word}=${shortNumber(state.least[name])}`);
  try {
    history.replaceState(null, "", `#${words.join("&")}`);
  } catch {
    // a browser may refuse for a local file: they then last as long as the page
  }
}

const shortNumber = (value) => String(Number(value.toFixed(3)));
