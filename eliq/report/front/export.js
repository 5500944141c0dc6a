// Take the kept images away: as a list of paths, as a table, or as the command that does the same.

/** In the order of the run, as `eliq keep` and `eliq export` give them. */
const keptRows = () => Array.from(kept.keys()).filter((row) => kept[row]);

function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = element("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** One path a line; a member of an archive as archive/member. */
function listOfPaths() {
  // A line end in a name would pass for the end of a path: it is made visible instead.
  return keptRows().map((row) => `${pathOf(row).replace(/[\r\n]/g, "\ufffd")}\n`).join("");
}

// Columns, order and digits are those of `eliq export --to csv` (eliq/interop/tables.py).
const CSV_COLUMNS = ["path", "member", "visual_quality", "alignment", "aspect_technical",
  "aspect_aesthetic", "aspect_alignment", "flags", "status", "error_class", "error", "width",
  "height", "prompt", "model_id", "dtype"];

/** Nine digits, which give a float32 back, as Python's %.9g writes them. */
function nineDigits(value) {
  if (isNaN(value)) return "";
  if (value === 0 || Math.abs(value) >= 1e-4) return String(Number(value.toPrecision(9)));
  const [digits, power] = String(Number(value.toPrecision(9)).toExponential()).split("e-");
  return `${digits}e-${power.padStart(2, "0")}`;
}

/** One field of a CSV line. A spreadsheet would run a text that begins like a formula. */
function field(value, isPath = false) {
  let text = String(value ?? "");
  if (/^[=+\-@\t\r]/.test(text)) text = (isPath ? "./" : "'") + text;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function fieldOf(name, row) {
  const { path, href } = folderOf(row);
  if (name === "path") return field(href === null ? path.slice(0, -1) : pathOf(row), true);
  if (name === "member") return field(href === null ? nameOf(row) : "");
  // What is kept has not failed: these are flags alone, without a reason.
  if (name === "flags") return field(flagsOf(row).join(" "));
  const value = column(name)(row);
  if (typeof value === "number" && !["width", "height"].includes(name)) return nineDigits(value);
  return field(value);
}

function tableOfKept() {
  const lines = keptRows().map((row) => CSV_COLUMNS.map((name) => fieldOf(name, row)).join(","));
  return [CSV_COLUMNS.join(","), ...lines].join("\r\n") + "\r\n";
}

/** A word as a POSIX shell reads it back. */
const quoted = (word) => /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/** `eliq keep` with these thresholds and filters. */
function commandLine() {
  const options = SCORES.filter((name) => state.least[name] > 0).map((name) =>
    ` --min-${name.replace("_", "-")} ${shortNumber(state.least[name])}`);
  for (const [flag, want] of state.flags) {
    options.push(` --${want === "only" ? "flag" : "without-flag"} ${quoted(flag)}`);
  }
  if (state.words.length) {
    const words = state.words.map((word) => (/\s/.test(word) ? `"${word}"` : word)).join(" ");
    options.push(` --words=${quoted(words)}`); // with =: it may begin with a hyphen
  }
  return `eliq keep ${DATA.about.directory}${options.join("")} --list`;
}

function showTaking() {
  const number = IS_SAMPLE ? keptRows().length : totals.kept;
  $("take-count").textContent = plural(number, "image") + (IS_SAMPLE ? " of this sample" : "");
  $("export-txt").disabled = $("export-csv").disabled = number === 0;
  $("command").textContent = commandLine();
}

async function copyText(text, button) {
  const before = button.textContent;
  let word = "Copied";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    word = "Not allowed here";
  }
  button.textContent = word;
  setTimeout(() => { button.textContent = before; }, 1400);
}

function setUpExport() {
  $("export-txt").addEventListener("click", () =>
    download("kept.txt", "text/plain;charset=utf-8", listOfPaths()));
  $("export-csv").addEventListener("click", () =>
    download("kept.csv", "text/csv;charset=utf-8", "\ufeff" + tableOfKept()));
  $("command-copy").addEventListener("click", (event) => copyText(commandLine(), event.currentTarget));
}
