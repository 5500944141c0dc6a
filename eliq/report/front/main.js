// Puts the page together, and says what is drawn again after which change.

let isDue = false;

/** A threshold moved. Drawing waits for the next frame, so that fast drags never queue up. */
function setThreshold(name, value, isTyped = false) {
  const wanted = snapped(value, isTyped);
  if (wanted === state.least[name]) return;
  state.least[name] = wanted;
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    refreshThresholds();
  });
}

function refreshThresholds() {
  applyThresholds();
  drawPlots();
  SCORES.forEach((name) => showThreshold(name));
  showCounts();
  writeAddressSoon();
  showStripsSoon();
  if (state.show === "kept" || state.show === "dropped") refreshList();
  else showTiles();
}

/** A filter changed. */
function refreshAll() {
  dots = null;
  applyFilters();
  applyThresholds();
  describeScatter();
  drawPlots();
  SCORES.forEach((name) => showThreshold(name));
  showCounts();
  showStrips();
  refreshList();
}

const listWord = () =>
  ({ all: "", kept: " kept", dropped: " dropped", failed: " not scored" })[state.show];

/** What the images of the grid are, after their number. */
const listWords = () => `images${listWord()}${isFiltered() ? " within the filters" : ""}`;

/** The order changed, or which rows are listed. */
function refreshList() {
  const rows = listedRows();
  listRows(rows);
  $("grid-title").textContent = `${plural(rows.length, "image")}${listWord()}`;
  const order = $("sort").selectedOptions[0].textContent;
  const end = state.sort === "path" ? (state.descending ? ", last first" : "")
    : state.descending ? ", best first" : ", worst first";
  const sample = IS_SAMPLE ? ` · a sample of ${count(DATA.totals.images)}` : "";
  $("grid-note").textContent = `by ${order}${end}${sample}`;
  $("empty").hidden = rows.length > 0;
}

function drawPlots() {
  SCORES.forEach(drawHistogram);
  drawScatter();
}

let writing = 0;

/** Once the threshold rests: browsers refuse an address that changes with each step of a drag. */
function writeAddressSoon() {
  clearTimeout(writing);
  writing = setTimeout(writeAddress, 300);
}

let announcing = 0;

function showCounts() {
  $("num-kept").textContent = count(totals.kept);
  $("num-all").textContent = count(totals.considered);
  $("share-kept").textContent = percent(totals.kept, totals.considered);
  $("num-dropped").textContent = count(totals.dropped);
  $("num-failed").textContent = count(totals.failed);
  for (const kind of ["kept", "dropped", "failed"]) {
    const part = document.querySelector(`.split .${kind}`);
    part.style.width = `${totals.considered ? (100 * totals[kind]) / totals.considered : 0}%`;
  }
  const notes = [];
  if (isFiltered()) notes.push("Within the filters.");
  if (IS_SAMPLE) {
    notes.push(isFiltered()
      ? `Counted in this page's sample of ${count(NUM_ROWS)} of ${count(DATA.totals.images)} images.`
      : `Counts are of the whole run; the images below are a sample of ${count(NUM_ROWS)}.`);
  }
  $("counts-note").textContent = notes.join(" ");
  $("counts-note").hidden = !notes.length;
  showTaking();
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    $("counts-live").textContent = `${count(totals.kept)} of ${count(totals.considered)} images kept`;
  }, 700);
}

function start() {
  $("about").textContent = DATA.about.line;
  if (DATA.about.noise >= 0.0005) {
    $("help-noise").hidden = false;
    $("help-noise").textContent = `These scores were made in ${DATA.about.dtype}: they may change by ` +
      `up to ${DATA.about.noise} with the batch they are computed in. Images that near to a ` +
      "threshold are counted under its histogram.";
  }
  readAddress();
  SCORES.forEach(setUpThreshold);
  setUpTheme();
  setUpScatter();
  setUpGrid();
  setUpStrips();
  setUpView();
  setUpExport();
  setUpToolbar();
  setUpKeys();
  refreshAll();
  new ResizeObserver(() => {
    dots = null;
    drawPlots();
    keepPlace(() => {
      measureGrid();
      showTiles();
    });
  }).observe($("grid"));
  if (DATA.thumbnails.mode === "inline") {
    document.addEventListener("DOMContentLoaded", retryThumbnails);
  }
  performance.mark("eliq-ready");
}

start();
