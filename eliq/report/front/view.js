// One image, large, with all that is known of it. Arrow keys step through the list it came from.

const view = { rows: [], words: "", place: 0, from: null };
const RECORD_FIRST = ["id", "path", "shard", "member", "width", "height", "format", "mode", "n_frames"];
const OWN_PLACE = new Set(["name", "folder", "prompt", "flags", "visual_quality", "alignment",
  "aspect_technical", "aspect_aesthetic", "aspect_alignment", "error"]);

/** `words` say what the rows are, after their number. */
function openView(row, rows, words, place = rows.indexOf(row)) {
  view.rows = rows;
  view.words = words;
  view.from = document.activeElement;
  if (!$("view").open) $("view").showModal();
  $("view").focus(); // not the first button: arrow keys, Enter and Escape act on the whole view
  showInView(place);
}

function showInView(place) {
  if (!view.rows.length) return;
  view.place = (place + view.rows.length) % view.rows.length;
  const row = view.rows[view.place];
  const frame = document.querySelector(".view-frame");
  frame.classList.remove("is-full", "is-small");
  const original = isShown(row) ? originalOf(row) : null;
  const thumbnail = thumbnailOf(row);
  const image = $("view-image");
  image.alt = promptOf(row) ?? visible(nameOf(row));
  showPicture(image, original, thumbnail);
  $("view-none").hidden = original !== null || thumbnail !== null;
  $("view-none").textContent = "no picture of it in this report";
  image.onload = () => noteSource(image, original);
  $("view-place").textContent = placeInView();
  $("view-name").textContent = visible(nameOf(row));
  showState(row);
  $("view-scores").replaceChildren(...SCORES.map((name) => meter(name, score[name][row], row)));
  const prompt = promptOf(row);
  $("view-prompt").textContent = prompt || "no prompt";
  $("view-prompt").classList.toggle("dim", !prompt);
  $("view-flags").replaceChildren(...flagsOf(row).map(flagLine));
  const aspects = ["technical", "aesthetic", "alignment"];
  $("view-aspects").replaceChildren(...aspects.map((name) =>
    meter(`aspect_${name}`, column(`aspect_${name}`)(row) ?? NaN, null, name)));
  showRecord(row);
  const open = $("view-open");
  const href = originalOf(row);
  open.hidden = href === null;
  if (href !== null) open.href = href;
}

const placeInView = () => `${count(view.place + 1)} of ${count(view.rows.length)} ${view.words}`;

/** Say so where a thumbnail has to stand for the original, and do not blow it up. */
function noteSource(image, original) {
  const isOriginal = original !== null && image.currentSrc === new URL(original, document.baseURI).href;
  $("view-place").textContent = placeInView() +
    (isOriginal ? "" : " · thumbnail; the original is not here");
  document.querySelector(".view-frame").classList.toggle("is-small", !isOriginal);
}

function showState(row) {
  const line = $("view-state");
  line.className = kept[row] ? "is-kept-text" : isScored[row] ? "dim" : "is-failed-text";
  if (!isScored[row]) {
    line.textContent = `Not scored: ${errorOf(row) ?? column("error_class")(row) ?? "no reason given"}`;
    return;
  }
  const misses = SCORES.filter((name) => !reaches(name, row)).map((name) =>
    isNaN(score[name][row]) ? `has no ${SCORE_WORDS[name]}` :
      `${SCORE_WORDS[name]} is below ${shortNumber(state.least[name])}`);
  line.textContent = misses.length ? `Dropped: ${misses.join(", ")}`
    : considered[row] ? "✓ Kept" : "Outside the filters";
}

/** A label, a bar and a number; for a score also where its threshold lies and its place in the run. */
function meter(name, value, row, label = SCORE_WORDS[name] ?? name) {
  const line = element("div", `meter ${name}`);
  line.append(element("span", "", label));
  const bar = line.appendChild(element("span", "bar"));
  const filled = bar.appendChild(element("i"));
  filled.style.width = `${isNaN(value) ? 0 : 100 * Math.min(1, Math.max(0, value))}%`;
  line.append(element("b", "", shown(value)));
  if (row !== null && !isNaN(value)) {
    const threshold = bar.appendChild(element("u"));
    threshold.style.left = `${100 * state.least[name]}%`;
    const order = orderBy(name);
    const below = lowerBound(order.slice(0, order.num_known), score[name], value);
    const share = Math.floor((1000 * below) / order.num_known) / 10; // never rounded up to 100
    line.append(element("small", "", `above ${share.toFixed(1)} % of the ` +
      `${IS_SAMPLE ? "sample" : "run"}`));
  }
  return line;
}

function flagLine(flag) {
  const line = element("p", "flag-line");
  line.append(element("b", "", flag.replaceAll("_", " ")), " ", DATA.words[flag] ?? "");
  return line;
}

function showRecord(row) {
  const list = $("view-record");
  list.replaceChildren();
  const names = Object.keys(DATA.columns).filter((name) => !OWN_PLACE.has(name));
  const ordered = [...RECORD_FIRST, ...names.filter((name) => !RECORD_FIRST.includes(name))];
  for (const name of ordered) {
    const value = name === "path" ? visible(pathOf(row)) : column(name)(row);
    if (value === null || value === undefined) continue;
    list.append(element("dt", "", name.replaceAll("_", " ")), element("dd", "", String(value)));
  }
}

function setUpView() {
  const dialog = $("view");
  $("view-back").addEventListener("click", () => showInView(view.place - 1));
  $("view-next").addEventListener("click", () => showInView(view.place + 1));
  $("view-close").addEventListener("click", () => dialog.close());
  $("view-copy").addEventListener("click", (event) =>
    copyText(pathOf(view.rows[view.place]), event.currentTarget));
  const full = () => document.querySelector(".view-frame").classList.toggle("is-full");
  $("view-image").addEventListener("click", full);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // outside its box
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      ArrowLeft: () => showInView(view.place - 1),
      ArrowRight: () => showInView(view.place + 1),
      Home: () => showInView(0),
      End: () => showInView(view.rows.length - 1),
      z: full,
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    event.stopPropagation();
    actions[event.key]();
  });
  dialog.addEventListener("close", () => {
    if (view.rows === grid.rows) focusTile(view.place);
    else view.from?.focus?.();
  });
}
