// Four strips of one score: its best, its worst, and either side of the threshold.

const STRIP_LENGTH = 12;
const STRIP_PAUSE_MS = 90;

/** The first place in an ascending list of rows whose score reaches the value. */
function lowerBound(rows, values, value) {
  let from = 0;
  let to = rows.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (values[rows[middle]] < value) from = middle + 1;
    else to = middle;
  }
  return from;
}

function stripRows() {
  const name = mainScore();
  const rows = ascending[name];
  const edge = lowerBound(rows, score[name], state.least[name]);
  return {
    best: rows.slice(-STRIP_LENGTH).reverse(),
    worst: rows.slice(0, STRIP_LENGTH),
    above: rows.slice(edge, edge + STRIP_LENGTH),
    below: rows.slice(Math.max(0, edge - STRIP_LENGTH), edge).reverse(),
  };
}

let stripsDue = 0;

/** While a threshold is dragged the strips follow a little later: two dozen pictures to load must
 * not hold up the counts and the plots. */
function showStripsSoon() {
  if (stripsDue) return;
  stripsDue = setTimeout(showStrips, STRIP_PAUSE_MS);
}

function showStrips() {
  clearTimeout(stripsDue);
  stripsDue = 0;
  if (!$("strips").open) return;
  const name = mainScore();
  const found = stripRows();
  $("strips-note").textContent = `by ${SCORE_WORDS[name]}; threshold ${shortNumber(state.least[name])}`;
  for (const section of document.querySelectorAll("[data-strip]")) {
    const kind = section.dataset.strip;
    const rows = found[kind];
    const strip = section.querySelector(".strip");
    strip.rows = rows;
    section.querySelector("h3").textContent = {
      best: "Best", worst: "Worst", above: "Just above the threshold", below: "Just below it",
    }[kind];
    while (strip.children.length > rows.length || strip.querySelector(".none")) {
      strip.lastElementChild.remove();
    }
    while (strip.children.length < rows.length) strip.append(makeTile());
    rows.forEach((row, place) => {
      strip.children[place].place = place;
      fillTile(strip.children[place], row, { digits: 2 });
    });
    if (!rows.length) strip.append(element("p", "none dim", "none"));
  }
}

function setUpStrips() {
  $("strips").addEventListener("toggle", showStrips);
  $("strips").addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (tile) openView(tile.row, tile.parentElement.rows, tile.place);
  });
}
