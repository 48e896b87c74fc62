"use strict";
// One page over the function app's own API. It builds the document from text alone: nothing that comes from a server or
// from the address is ever read as markup.

const BASE = location.pathname.replace(/\/ui\/?$/, "");
const KEY = "restore-chunk-key";
const IDLE_SECONDS = 30;
const MOST_WAIT_SECONDS = 60;
const PAGE_SIZE = 100;
const MOST_DETAILS = 20;

const $ = (id) => document.getElementById(id);

// --- the key ---------------------------------------------------------------------------------------------------

// Out of the address bar at once, and so out of the history, of bookmarks and of what is copied from there.
function takeKeyFromAddress() {
  const address = new URL(location.href);
  const code = address.searchParams.get("code");
  if (code !== null) {
    sessionStorage.setItem(KEY, code);
    address.searchParams.delete("code");
    history.replaceState(null, "", address.pathname + address.search + address.hash);
  }
}

const key = () => sessionStorage.getItem(KEY) ?? "";

function askForKey(reason) {
  $("key-reason").textContent = reason;
  $("key").hidden = false;
  $("forget").hidden = key() === "";
}

// --- asking the API ----------------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, error, wait = null) {
    super(error?.message ?? `the function app answered HTTP ${status}`);
    this.status = status;
    this.error = error;
    this.wait = wait;
  }
}

class Away extends Error {}

async function ask(path, { method = "GET", body, headers = {} } = {}) {
  const sent = { Accept: "application/json", ...headers };
  if (key()) sent["x-functions-key"] = key();
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store", redirect: "error", credentials: "same-origin", signal: AbortSignal.timeout(60_000),
    });
  } catch {
    throw new Away("the function app does not answer");
  }
  let answer = null;
  try { answer = await response.json(); } catch { /* the platform's own answers are no JSON */ }
  if (response.status === 401 || (response.status === 403 && !answer?.error)) {
    throw new Refused(response.status, { message: key()
      ? `The key was refused (HTTP ${response.status}). A function key is valid for one function only: use a host key.`
      : `The function app asks for a key (HTTP ${response.status}).` });
  }
  if ([502, 503, 504].includes(response.status) && !answer?.error) throw new Away(`HTTP ${response.status} came back`);
  const wait = Number(response.headers.get("Retry-After")) || null;
  if (!response.ok) throw new Refused(response.status, answer?.error, wait);
  if (answer === null) throw new Away("the answer is not JSON");
  return { answer, wait };
}

// Ask for what a view shows. Whoever went to another view meanwhile does not want it any more.
async function look(path) {
  const mine = turn, found = await ask(path);
  if (mine !== turn) throw new Away("another view was chosen");
  return found;
}

// A link that an answer gave is followed by its path alone: the key goes to no other host.
const ownPath = (link) => { const url = new URL(link, location.href); return BASE + url.pathname.slice(url.pathname.indexOf("/api") + 4) + url.search; };

// --- building the document ---------------------------------------------------------------------------------------

const SVG = new Set(["svg", "rect", "title"]);

function h(tag, attributes = {}, ...children) {
  const element = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  for (const child of children.flat(9)) if (child !== null && child !== undefined && child !== false) element.append(child instanceof Node ? child : String(child));
  return element;
}

// Make an element like a new one, and keep what is the same: focus, selection and scrolling stay.
function morph(old, wanted) {
  for (const { name } of [...old.attributes]) if (!wanted.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of [...wanted.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  old.shown = wanted.shown;
  if (wanted.firstElementChild?.dataset.key === undefined) morphByPlace(old, wanted); else morphByKey(old, wanted);
}

function morphByPlace(old, wanted) {
  const have = [...old.childNodes], want = [...wanted.childNodes];
  want.forEach((node, index) => {
    const was = have[index];
    if (was === undefined) old.append(whole(node));
    else if (was.nodeType !== node.nodeType || was.nodeName !== node.nodeName || was.dataset?.key !== node.dataset?.key) was.replaceWith(whole(node));
    else if (node.nodeType === Node.TEXT_NODE) { if (was.data !== node.data) was.data = node.data; }
    else if (was !== document.activeElement || !["INPUT", "SELECT"].includes(was.nodeName)) morph(was, node);
  });
  have.slice(want.length).forEach((node) => node.remove());
}

// A row that came or went moves no other one: what moves loses the focus.
function morphByKey(old, wanted) {
  const want = [...wanted.children], keys = new Set(want.map((node) => node.dataset.key)), have = new Map();
  for (const node of [...old.childNodes]) if (keys.has(node.dataset?.key)) have.set(node.dataset.key, node); else node.remove();
  let at = old.firstChild;
  for (const node of want) {
    const was = have.get(node.dataset.key);
    if (was === undefined) { old.insertBefore(whole(node), at); continue; }
    if (was === at) at = at.nextSibling; else old.insertBefore(was, at);
    if (node.build === undefined) morph(was, node);
  }
}

// A row like the one that is shown is not built again: of a thousand rows that are looked at anew, few have changed.
const texts = new WeakMap();

function textOf(one) {
  if (!texts.has(one)) texts.set(one, JSON.stringify(one));
  return texts.get(one);
}

function rows(table, all, keyOf, build) {
  const there = new Map(Array.from(document.querySelectorAll(`table[data-rows="${CSS.escape(table)}"] > tbody > tr`), (row) => [row.dataset.key, row.shown]));
  const built = (one) => { const row = h("tr", { "data-key": keyOf(one) }, build(one)); row.shown = textOf(one); return row; };
  return h("tbody", {}, all.map((one) => {
    if (there.get(keyOf(one)) !== textOf(one)) return built(one);
    const same = h("tr", { "data-key": keyOf(one), "data-same": true });
    same.build = () => built(one);
    return same;
  }));
}

// What goes into the document as it is needs all its rows.
function whole(node) {
  if (node.build !== undefined) return node.build();
  if (node.nodeType === Node.ELEMENT_NODE) for (const same of node.querySelectorAll("[data-same]")) same.replaceWith(same.build());
  return node;
}

function show(...children) {
  const wanted = h("main", { id: "main", tabindex: "-1" }, children);
  morph($("main"), wanted);
}

// --- words -----------------------------------------------------------------------------------------------------

const number = (value) => (value === null || value === undefined ? "" : Number(value).toLocaleString("en"));
const clock = (value) => { const time = new Date(value); return Number.isNaN(time.getTime()) ? "" : time.toISOString().replace("T", " ").slice(0, 19) + "Z"; };
const seconds = (value) => { const s = Math.round(Number(value)); return s < 60 ? `${Number(value).toFixed(1)} s` : s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`; };

// As restorectl says it.
function bytes(value) {
  if (value === null || value === undefined) return "";
  if (value < 1024) return `${value} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"], at = Math.min(Math.floor(Math.log2(value) / 10), units.length);
  return `${(value / 1024 ** at).toFixed(1)} ${units[at - 1]}`;
}

const WORDS = { NotStarted: "waits", Running: "runs", Succeeded: "done", Failed: "failed", Canceled: "canceled" };
const SIGNS = { NotStarted: "…", Running: "▶", Succeeded: "✓", Failed: "✕", Canceled: "–",
  waiting: "…", skipped: "–", canceled: "–", restored: "✓", archived: "▢", stale: "◐", missing: "–", failed: "✕", running: "▶", present: "■", unknown: "?", unset: "" };
const badge = (word, text = WORDS[word] ?? word) => h("span", { class: `badge ${SIGNS[word] === undefined ? "" : word}` }, `${SIGNS[word] ?? "·"} ${text}`);

// A dry run and a day that was skipped have succeeded, and written nothing.
const ENDS = { dry_run: ["skipped", "dry run"], skipped: ["skipped", "skipped"], ok_with_warnings: ["Succeeded", "done, with warnings"] };
const wroteNothing = (one) => ["dry_run", "skipped"].includes(one.outcome);

function ending(one) {
  if (one.canceling) return badge("Canceled", "being canceled");
  const [word, text] = ENDS[one.outcome] ?? [one.status];
  return badge(word, text);
}

function facts(pairs) {
  return h("dl", {}, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function problem(error, title, todo = error.hint) {
  return h("section", { class: "notice bad", "aria-label": title },
    h("h3", {}, `${title}: ${error.code ?? "no code"}`), h("p", {}, error.message ?? ""),
    todo ? h("p", {}, h("strong", {}, "What to do: "), todo) : null, detailsOf(error));
}

// A hint is for a caller who would try again.
const nothingToDo = (due) => `nothing: it is tried again by itself${due ? ` at ${clock(due)}` : ""}.`;

// A hint speaks of what the details name.
function detailsOf(error) {
  const all = (error.details ?? []).map((one) => detailText(one, error)).filter(Boolean), title = h("strong", {}, "Details: ");
  if (all.length < 2) return all.length ? h("p", {}, title, all[0]) : null;
  const shown = all.slice(0, MOST_DETAILS), left = all.length - shown.length;
  return [h("p", {}, title), h("ul", {}, shown.map((text) => h("li", {}, text)), left ? h("li", {}, `and ${left} more`) : null)];
}

function detailText({ code, message, target, ...others }, error) {
  const adds = message && !error.message?.includes(message);
  const text = !adds ? "" : target && !message.startsWith(target) ? `${target}: ${message}` : message;
  return [text, factsText(adds || !target || target === error.target ? others : { target, ...others })].filter(Boolean).join("; ");
}

const factsText = (values) => Object.entries(values).filter(([, value]) => value !== null).map(([name, value]) => `${name.replaceAll("_", " ")} ${factText(value)}`).join(", ");
const factText = (value) => Array.isArray(value) ? value.map(factText).join(", ") : typeof value === "object" ? `(${factsText(value)})` : String(value);

function warnings(all) {
  return all?.length ? h("section", { class: "notice" }, h("h3", {}, "Warnings"), h("ul", {}, all.map((warning) => h("li", {}, `${warning.code}: ${warning.message}`)))) : null;
}

function progress(one) {
  const percent = one.progress?.percent;
  return [h("progress", { max: 100, value: percent ?? null, "aria-label": `${one.target_table} ${one.day ?? ""}: progress` }),
    h("span", { class: "soft" }, ` ${[one.progress?.stage, percent === null || percent === undefined ? null : `${percent} % ${one.progress.csv_bytes_total ? "loaded" : "read"}`].filter(Boolean).join(", ")}`)];
}

// --- the view of all restores ------------------------------------------------------------------------------------

let listed = { query: "", first: [], more: [], next: null };

async function viewRestores(query) {
  const filters = { status: query.get("status") ?? "", table: query.get("table") ?? "" };
  const asked = new URLSearchParams([...Object.entries(filters).filter(([, value]) => value), ["top", String(PAGE_SIZE)]]);
  const { answer } = await look(`${BASE}/restores?${asked}`);
  if (listed.query !== String(asked)) listed = { query: String(asked), first: [], more: [], next: null };
  const next = listed.more.length ? listed.next : answer.nextLink;
  listed.next = next;
  const seen = new Set(answer.value.map((one) => one.id));
  // New ones push others off the first page, and these are on no page that was asked for.
  const oldest = answer.value.at(-1)?.created ?? "";
  if (listed.more.length) listed.more = [...listed.first.filter((one) => one.created <= oldest), ...listed.more].filter((one) => !seen.has(one.id));
  listed.first = answer.value;
  const all = [...answer.value, ...listed.more];
  const live = all.filter((one) => ["NotStarted", "Running"].includes(one.status));
  // The list is by when they were taken; the days of a backfill were taken together.
  const ended = all.filter((one) => !live.includes(one)).sort((one, other) => (one.ended < other.ended ? 1 : one.ended > other.ended ? -1 : 0));
  show(
    h("h2", {}, "Restores"),
    h("form", { id: "filters", class: "fields", "aria-label": "Filters" },
      h("div", {}, h("label", { for: "status" }, "Status"), h("select", { id: "status", name: "status" },
        ["", ...Object.keys(WORDS)].map((value) => h("option", { value, selected: value === filters.status }, value || "any")))),
      h("div", { class: "wide" }, h("label", { for: "table" }, "Table, as schema.table"), h("input", { id: "table", name: "table", value: filters.table, autocomplete: "off" })),
      h("button", { type: "submit" }, "Filter")),
    h("div", {}, live.length ? [h("h3", { id: "live" }, `Waiting and running (${live.length})`), liveTable(live)] : h("p", {}, "Nothing waits or runs.")),
    h("h3", { id: "ended" }, "Ended, newest first"),
    h("p", { class: "soft" }, "Restores by a call that waits, without the queue, are not listed: Days shows the last one of each day."),
    ended.length ? endedTable(ended) : h("p", {}, filters.status || filters.table ? "None match." : "None yet."),
    next ? h("p", {}, h("button", { type: "button", "data-action": "more" }, "Show more")) : null);
  return live.length ? 5 : null;
}

const named = (one) => [`${one.target_table} `, h("span", { class: "whole" }, one.day)];
const database = (one) => h("div", { class: "soft" }, one.database);
const link = (one) => h("a", { href: `#/restores/${encodeURIComponent(one.id)}` }, named(one));

// The archives of the table, with {date} where the day stood last: so does a path name its day.
function patternOf(one) {
  const at = one.archive?.lastIndexOf(one.day) ?? -1;
  return at < 0 ? null : `${one.archive.slice(0, at)}{date}${one.archive.slice(at + one.day.length)}`;
}

const calendar = (pattern, day, text) => h("a", { href: `#/days?${new URLSearchParams({ adls_url: pattern, year: day.slice(0, 4) })}` }, text);

function liveTable(all) {
  return h("div", { class: "scroll" }, h("table", { class: "cards", "aria-labelledby": "live", "data-rows": "live" },
    h("thead", {}, h("tr", {}, ["Table and day", "Status", "Progress", "Rows", "Time", "Heartbeat", "Attempt", "Stop"].map((name) => h("th", { scope: "col", class: ["Rows", "Attempt"].includes(name) ? "number" : null }, name)))),
    rows("live", all, (one) => one.id, (one) => [
      h("th", { scope: "row" }, link(one), database(one)), h("td", {}, ending(one)), h("td", {}, one.status === "Running" ? progress(one) : one.next_attempt ? `again at ${clock(one.next_attempt)}` : ""),
      h("td", { class: "number", "data-name": "rows" }, number(one.progress.rows || null)), h("td", { class: "short", "data-name": "time" }, one.status === "Running" ? seconds(one.progress.seconds) : ""),
      h("td", { class: "short", "data-name": "heartbeat" }, one.heartbeat ? clock(one.heartbeat).slice(11) : ""), h("td", { class: "number", "data-name": "attempt" }, one.attempt || ""),
      h("td", {}, cancelButton(one))])));
}

const cancelButton = (one) => h("button", { type: "button", class: "danger", "data-action": "cancel", "data-id": one.id, "data-kind": one.kind, "aria-label": `Cancel ${one.target_table} ${one.day ?? ""}`, disabled: one.canceling }, "Cancel");

function endedTable(all) {
  return h("div", { class: "scroll" }, h("table", { class: "cards", "aria-labelledby": "ended", "data-rows": "ended" },
    h("thead", {}, h("tr", {}, ["Table and day", "Outcome", "Rows", "Time", "Ended", "What happened"].map((name) => h("th", { scope: "col", class: name === "Rows" ? "number" : null }, name)))),
    rows("ended", all, (one) => one.id, (one) => [
      h("th", { scope: "row" }, link(one), database(one)), h("td", {}, ending(one)), h("td", { class: "number", "data-name": "rows" }, one.status === "Succeeded" && !wroteNothing(one) ? number(one.progress.rows) : ""),
      h("td", { class: "short", "data-name": "time" }, one.progress.seconds ? seconds(one.progress.seconds) : ""), h("td", { class: "short", "data-name": "ended" }, clock(one.ended)),
      h("td", { class: "wrap" }, one.error ? `${one.error.code}: ${one.error.message}` : wroteNothing(one) ? "Nothing was written." : "")])));
}

// --- the view of one restore -------------------------------------------------------------------------------------

async function viewRestore(id) {
  const { answer: one, wait } = await look(`${BASE}/restores/${encodeURIComponent(id)}`);
  const runs = ["NotStarted", "Running"].includes(one.status);
  const result = one.result;
  show(
    h("p", {}, h("a", { href: "#/restores" }, "All restores"), patternOf(one) ? [" · ", calendar(patternOf(one), one.day, "Days of this table")] : null),
    h("h2", {}, named(one), " ", ending(one)),
    one.status === "Running" ? h("p", {}, progress(one)) : null,
    runs ? h("p", {}, cancelButton(one)) : null,
    one.error ? problem(one.error, runs ? "The last attempt failed" : one.status === "Canceled" ? "Canceled" : "It failed", runs ? nothingToDo(one.next_attempt) : one.error.hint) : null,
    result?.dry_run ? rehearsal(result.dry_run) : null,
    warnings(result?.warnings),
    facts([
      ["Archive", one.archive], ["Database", one.database],
      ...rowFacts(one),
      ["Rows of the day now", result?.verification ? number(result.verification.rows_after) : null],
      ["Read", one.progress.compressed_bytes_total ? `${bytes(one.progress.compressed_bytes)} of ${bytes(one.progress.compressed_bytes_total)}` : null],
      ["Taken", clock(one.created)], ["Started", clock(one.started)], ["Ended", one.ended ? clock(one.ended) : null],
      ["Last heartbeat", one.heartbeat ? clock(one.heartbeat) : null], ["Attempts", one.attempt],
      ["Next attempt", one.next_attempt ? clock(one.next_attempt) : null], ["Id", one.id], ["request_id, for the log", one.request_id ?? result?.request_id],
      ["Part of", one.backfill ? h("a", { href: `#/backfills/${encodeURIComponent(one.backfill)}` }, `the backfill ${one.backfill}`) : null],
    ]),
    attempts(one),
    result?.timings ? stages(result.timings) : null,
    one.request ? [h("h3", {}, "Repeat it"), h("p", { class: "soft" }, "With curl, and the key in RESTORE_KEY:"), h("pre", { tabindex: "0" }, curl(one.request)),
      h("p", { class: "soft" }, "With the command line:"), h("pre", { tabindex: "0" }, command(one.request))] : null,
    one.request ? [h("h3", {}, "Request"), h("pre", { tabindex: "0" }, JSON.stringify(one.request, null, 2))] : null,
    result ? h("details", {}, h("summary", {}, "The whole answer"), h("pre", { tabindex: "0" }, JSON.stringify(result, null, 2))) : null);
  return runs ? wait ?? 5 : null;
}

function rowFacts(one) {
  const { result } = one;
  if (result?.dry_run) return [["Rows in the archive", number(result.dry_run.rows_in_archive)], ["Rows that the day has", number(result.dry_run.rows_existing)], ["Days that have rows", result.dry_run.on_existing]];
  if (result?.status === "skipped") return [["Rows", "none loaded: the day has rows, and stays as it is"]];
  if (result) return [["Rows", `${number(result.rows_loaded)} loaded of ${number(result.rows_read)} read`]];
  return [["Rows read", number(one.progress.rows) || null]];
}

function rehearsal({ problems, not_checked: left }) {
  return h("section", { class: `notice ${problems.length ? "bad" : ""}`, "aria-label": "The dry run" },
    h("h3", {}, problems.length ? "A dry run: the restore would fail" : "A dry run: nothing was found that would end the restore"),
    problems.length ? h("ul", {}, problems.map((one) => h("li", {}, `${one.code}: ${one.message}`))) : null,
    left?.length ? h("p", {}, `Not checked, or not wholly: ${left.join(", ")}.`) : null);
}

// What is wider than the screen is scrolled by keyboard once it can have the focus.
const scrolled = (title, table) => h("div", { class: "scroll", role: "group", tabindex: "0", "aria-labelledby": title }, table);

// The last attempt of a restore that has ended is what the view itself says.
function attempts(one) {
  const failed = (one.attempts ?? []).filter((each) => !one.ended || each.attempt !== one.attempt);
  if (!failed.length) return null;
  return [h("h3", { id: "attempts" }, "Attempts that failed"),
    scrolled("attempts", h("table", { class: "figures", "aria-labelledby": "attempts" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "number" }, "Attempt"), h("th", { scope: "col" }, "Ended"), h("th", { scope: "col" }, "Stage"), h("th", { scope: "col" }, "What happened"))),
      h("tbody", {}, failed.map((each) => h("tr", {}, h("th", { scope: "row", class: "number" }, each.attempt), h("td", { class: "short" }, clock(each.ended)), h("td", {}, each.stage ?? ""), h("td", {}, each.code ?? "its worker was lost"))))))];
}

function stages(timings) {
  const parts = Object.entries(timings).filter(([name, value]) => name !== "total" && value > 0);
  const total = parts.reduce((sum, [, value]) => sum + value, 0) || 1;
  let left = 0;
  const bars = parts.map(([name, value]) => {
    const width = (100 * value) / total;
    const bar = h("rect", { x: left, y: 0, width, height: 10 }, h("title", {}, `${name}: ${seconds(value)}`));
    left += width;
    return bar;
  });
  return [h("h3", { id: "stages" }, `Where the ${seconds(timings.total ?? total)} went`),
    h("svg", { class: "stages", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, bars),
    scrolled("stages", h("table", { class: "figures", "aria-labelledby": "stages" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Stage"), h("th", { scope: "col", class: "number" }, "Seconds"), h("th", { scope: "col", class: "number" }, "Share"))),
      h("tbody", {}, parts.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "number" }, value.toFixed(3)), h("td", { class: "number" }, `${Math.round((100 * value) / total)} %`))))))];
}

const quoted = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;
const curl = (request) => `curl --silent --show-error --request POST ${quoted(`${location.origin}${BASE}/restore`)} \\\n  --header "x-functions-key: $RESTORE_KEY" --header 'Content-Type: application/json' \\\n  --data ${quoted(JSON.stringify(request))}`;

// Behind a pipe there is nobody to ask whether rows may be replaced: --yes is the answer. What begins with a dash is an
// option to a program, unless it stands behind --.
function command(request) {
  const { adls_url: url, destination = {}, ...others } = request;
  const { on_existing: existing, ...target } = destination;
  const rest = Object.keys(target).length ? { ...others, destination: target } : others;
  const isPiped = Object.keys(rest).length > 0, isLikeOption = String(url).startsWith("-");
  const plain = ["restorectl restore", isLikeOption ? "" : quoted(url), existing ? `--existing ${quoted(existing)}` : "", existing === "replace" ? "--yes" : "",
    isPiped ? "--request -" : "", isLikeOption ? `-- ${quoted(url)}` : ""].filter(Boolean).join(" ");
  const sent = isPiped ? `printf '%s' ${quoted(JSON.stringify(rest))} | ${plain}` : plain;
  return `export RESTORE_URL=${quoted(location.origin + BASE)}\n${sent}`;
}

// --- the days of a table -----------------------------------------------------------------------------------------

const MEANINGS = { restored: "", archived: "not in the table", stale: "the archive is newer", missing: "neither archived nor in the table",
  failed: "", running: "", present: "in the table, not by a restore", unknown: "" };
const picked = { from: "", to: "" };
let plan = null;

const daysForm = (pattern, year) => h("form", { id: "days-form", class: "fields" },
  h("div", { class: "wide" }, h("label", { for: "adls_url" }, "Archives, with {date} in place of the day"), h("input", { id: "adls_url", name: "adls_url", required: true, value: pattern, autocomplete: "off", placeholder: "backups/weavix/silver.telemetry.{date}.csv.gz" })),
  h("div", {}, h("label", { for: "year" }, "Year"), h("input", { id: "year", name: "year", type: "number", min: 1970, max: 9998, value: year })),
  h("button", { type: "submit" }, "Show"));

async function viewDays(query) {
  const pattern = query.get("adls_url") ?? "", year = Number(query.get("year")) || new Date().getUTCFullYear();
  if (!pattern) { await showTables(year); return null; }
  // The months are there before their days are known. When it is looked at again, the last figures stay instead.
  if (drawChoice === null) {
    showDays(pattern, year, null);
    drawChoice = () => showChoice(pattern, new Map());
  }
  const asked = new URLSearchParams({ adls_url: pattern, from: `${year}-01-01`, to: `${year}-12-31`, top: "366" });
  const { answer } = await look(`${BASE}/days?${asked}`);
  showDays(pattern, year, answer.value);
  const days = new Map(answer.value.map((day) => [day.day, day]));
  drawChoice = () => showChoice(pattern, days);
  return answer.value.some((day) => day.state === "running") ? 10 : null;
}

// Shows what was chosen among the days; null in another view.
let drawChoice = null;

function showDays(pattern, year, found) {
  const days = new Map((found ?? []).map((day) => [day.day, day]));
  const counts = {};
  for (const day of days.values()) counts[day.state] = (counts[day.state] ?? 0) + 1;
  const step = (by) => h("a", { href: `#/days?${new URLSearchParams({ adls_url: pattern, year: year + by })}` }, String(year + by));
  show(
    h("h2", {}, `Days of ${year}`), daysForm(pattern, year),
    h("p", {}, step(-1), " · ", h("strong", {}, year), " · ", step(1)),
    found === null ? h("p", { class: "soft" }, "Looking at archives, rows and restores.") : h("ul", { class: "legend", "aria-label": "How many days" }, Object.keys(MEANINGS).filter((word) => counts[word]).map((word) => h("li", {}, badge(word, `${word} ${counts[word]}`), h("span", { class: "soft" }, ` ${MEANINGS[word]}`)))),
    h("p", { class: "soft" }, "Choose a day, then another one for a range. The arrow keys move from day to day."),
    h("div", { class: "months", id: "months" }, months(year, days)),
    choice(pattern, days));
  markDays();
}

const choice = (pattern, days) => picked.from ? h("div", { class: "choice" }, dayFacts(days), backfillForm(pattern)) : null;

// The days stay as they are, but for what marks them: to build a year of them takes several frames.
function showChoice(pattern, days) {
  markDays();
  const old = document.querySelector(".choice"), wanted = choice(pattern, days);
  if (old === null) { if (wanted) $("main").append(wanted); } else if (wanted) morph(old, wanted); else old.remove();
}

function markDays() {
  for (const button of $("months").querySelectorAll(".day")) {
    const iso = button.dataset.day, marks = { "aria-pressed": String(isPicked(iso)), tabindex: iso === stopOf(iso.slice(0, 4)) ? "0" : "-1" };
    for (const [name, value] of Object.entries(marks)) if (button.getAttribute(name) !== value) button.setAttribute(name, value);
  }
}

// Nobody knows a path by heart at night: these are the tables of which a day was restored lately.
async function showTables(year) {
  const form = () => [h("h2", {}, "Days of a table"), daysForm("", year), h("p", { class: "soft" }, "Shows each day with its archive, its rows and its last restore.")];
  show(form());
  const { answer } = await look(`${BASE}/restores?top=${PAGE_SIZE}`);
  const tables = new Map(answer.value.map((one) => [patternOf(one), one]));
  tables.delete(null);
  show(form(), tables.size ? [h("h3", {}, "Restored lately"), h("ul", {}, [...tables].map(([pattern, one]) =>
      h("li", {}, calendar(pattern, one.day, `${one.target_table} of ${one.day.slice(0, 4)}`), h("span", { class: "soft" }, ` ${pattern}`))))] : null);
}

// The day that the Tab key comes to; the arrow keys move it.
let stop = "";

const stopOf = (year) => stop.startsWith(`${year}-`) ? stop : `${year}-01-01`;

// A month like the one that is shown is not built again, as with rows.
function months(year, days) {
  const there = new Map(Array.from(document.querySelectorAll("#months > .month"), (month) => [month.dataset.key, month.shown]));
  return Array.from({ length: 12 }, (_, month) => {
    const key = `${year}-${String(month + 1).padStart(2, "0")}`;
    const known = Array.from({ length: 31 }, (_, day) => days.get(`${key}-${String(day + 1).padStart(2, "0")}`)?.state).join();
    const built = () => { const found = monthTable(year, month, days); found.dataset.key = key; found.shown = known; return found; };
    if (there.get(key) !== known) return built();
    const same = h("div", { "data-key": key, "data-same": true });
    same.build = built;
    return same;
  });
}

const isPicked = (iso) => Boolean(picked.from) && iso >= picked.from && iso <= (picked.to || picked.from);

function monthTable(year, month, days) {
  const first = new Date(Date.UTC(year, month, 1)), length = new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
  const name = first.toLocaleString("en", { month: "long", timeZone: "UTC" });
  const cells = [...Array((first.getUTCDay() + 6) % 7).fill(null), ...Array.from({ length }, (_, day) => day + 1)];
  const weeks = Array.from({ length: Math.ceil(cells.length / 7) }, (_, week) => cells.slice(7 * week, 7 * week + 7));
  return h("div", { class: "month" }, h("table", {}, h("caption", {}, name),
    h("thead", {}, h("tr", {}, ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"].map((day) => h("th", { scope: "col", "aria-label": day }, day.slice(0, 2))))),
    h("tbody", {}, weeks.map((week) => h("tr", {}, week.map((day) => day === null ? h("td", {}) : h("td", {}, dayButton(`${year}-${String(month + 1).padStart(2, "0")}-${String(day).padStart(2, "0")}`, day, days))))))));
}

function dayButton(iso, day, days) {
  const state = days.get(iso)?.state ?? "unset", text = state === "unset" ? "not known yet" : state;
  return h("button", { type: "button", class: `day ${state}`, "data-action": "pick", "data-day": iso, title: `${iso}: ${text}` },
    h("b", { "aria-hidden": "true" }, SIGNS[state]), h("span", { "aria-hidden": "true" }, day), h("span", { class: "unseen" }, `${iso}: ${text}`));
}

function dayFacts(days) {
  const day = picked.from && !picked.to ? days.get(picked.from) : null;
  if (!day) return null;
  const last = day.last_restore;
  return h("section", { "aria-labelledby": "the-day" }, h("h3", { id: "the-day" }, `${day.day} `, badge(day.state, day.state)), facts([
    ["Archive", day.archive ? `${bytes(day.archive.bytes)}, written ${clock(day.archive.modified)}${day.archive.tier ? `, ${day.archive.tier}` : ""}` : "none"],
    ["In the table", day.table.rows + (day.table.count === null ? "" : `, ${number(day.table.count)} rows`)],
    ["Last restore", last ? `${last.outcome}${last.code ? ` (${last.code})` : ""}, ${clock(last.at)}` : "none is recorded"],
    ["", last?.operation_id ? h("a", { href: `#/restores/${encodeURIComponent(last.operation_id)}` }, "Show this restore") : last ? `It was a call that waited; the log has it under request_id ${last.request_id}` : null],
  ]));
}

function backfillForm(pattern) {
  if (!picked.from) return null;
  const to = picked.to || picked.from;
  return h("section", { class: "notice", "aria-labelledby": "backfill-title" }, h("h3", { id: "backfill-title" }, "Restore these days"),
    h("form", { id: "backfill-form", class: "fields", "data-pattern": pattern },
      h("div", {}, h("label", { for: "from" }, "From"), h("input", { id: "from", name: "from", type: "date", value: picked.from, required: true })),
      h("div", {}, h("label", { for: "to" }, "To, included"), h("input", { id: "to", name: "to", type: "date", value: to, required: true })),
      h("div", {}, h("label", { for: "existing" }, "Days that have rows"), h("select", { id: "existing", name: "existing" },
        [["error", "make their restore fail"], ["skip", "stay as they are"], ["stale", "are replaced if the archive is newer"], ["append", "get the archive's rows too"], ["replace", "are replaced"]].map(([value, text]) => h("option", { value, selected: value === (plan?.existing ?? "error") }, text)))),
      h("button", { type: "submit", class: plan?.answer?.days ? null : "main" }, "Show the plan")),
    plan ? planned() : null);
}

function planned() {
  if (plan.error) return problem(plan.error, "It cannot be planned");
  const { answer } = plan, list = (days) => days.length > 12 ? `${number(days.length)} days, from ${days[0]} to ${days.at(-1)}` : days.join(", ");
  return [h("h4", { id: "plan" }, "The plan"), facts([
      ["To be restored", `${number(answer.days - answer.failing.length)} days, ${bytes(answer.bytes)} of archives, in ${number(answer.groups.length)} groups, ${answer.parallel} at once`],
      ["Would fail, having rows", list(answer.failing)], ["Have rows: replaced, or added to", list(answer.existing.filter((day) => !answer.failing.includes(day)))], ["Left as they are", list(answer.skipped)], ["Without an archive", list(answer.missing)]]),
    answer.days ? h("p", {}, h("button", { type: "button", class: "main", "data-action": "start" }, "Start the backfill")) : h("p", {}, "There is nothing to restore.")];
}

// --- backfills -------------------------------------------------------------------------------------------------

async function viewBackfills() {
  const { answer } = await look(`${BASE}/backfills?top=${PAGE_SIZE}`);
  const runs = answer.value.some((one) => ["NotStarted", "Running"].includes(one.status));
  show(h("h2", { id: "backfills" }, "Backfills"), answer.value.length ? h("div", { class: "scroll" }, h("table", { class: "cards", "aria-labelledby": "backfills", "data-rows": "backfills" },
    h("thead", {}, h("tr", {}, ["Table, archives and id", "Status", "Started", "Ended", "What happened"].map((name) => h("th", { scope: "col" }, name)))),
    rows("backfills", answer.value, (one) => one.id, (one) => [
      h("th", { scope: "row" }, h("a", { href: `#/backfills/${encodeURIComponent(one.id)}` }, one.target_table), h("div", { class: "soft" }, one.adls_url), h("div", { class: "soft" }, one.id)), h("td", {}, badge(one.status)),
      h("td", { class: "short", "data-name": "started" }, clock(one.started ?? one.created)), h("td", { class: "short", "data-name": "ended" }, one.ended ? clock(one.ended) : ""),
      h("td", { class: "wrap" }, one.error ? `${one.error.code}: ${one.error.message}` : "")]))) : h("p", {}, "None yet. ", h("a", { href: "#/days" }, "Choose the days"), " of a table."));
  return runs ? 5 : null;
}

const OUTCOMES = ["running", "waiting", "restored", "skipped", "failed", "canceled", "missing"];
let further = { id: "", days: [], next: null };

async function viewBackfill(id) {
  const { answer: one, wait } = await look(`${BASE}/backfills/${encodeURIComponent(id)}`);
  const runs = ["NotStarted", "Running"].includes(one.status);
  if (further.id !== id) further = { id, days: [], next: null };
  const next = further.days.length ? further.next : one.nextLink;
  further.next = next;
  const seen = new Set(one.value.map((day) => day.day));
  const days = [...one.value, ...further.days.filter((day) => !seen.has(day.day))];
  const { progress: all, days: counts } = one;
  const again = !runs && counts.failed + counts.canceled + counts.missing > 0;
  show(
    h("p", {}, h("a", { href: "#/backfills" }, "All backfills"), days.length ? [" · ", calendar(one.adls_url, days[0].day, "Days of this table")] : null),
    h("h2", {}, `${one.target_table} `, ending(one)),
    one.error ? problem(one.error, runs ? "Failed so far" : one.status === "Canceled" ? "Canceled" : "It failed", runs ? nothingToDo() : one.error.hint) : null,
    warnings(one.warnings),
    counts.total ? h("ul", { class: "legend", "aria-label": "How many days" }, OUTCOMES.filter((word) => counts[word]).map((word) => h("li", {}, badge(word, `${word} ${number(counts[word])}`)))) : null,
    h("p", {}, h("progress", { max: 100, value: all.percent, "aria-label": "Archives read" }), h("span", { class: "soft" }, ` ${[
      all.percent === null ? null : `${all.percent} % of ${bytes(all.compressed_bytes_total)} read`, `${number(all.rows)} rows`, seconds(all.seconds),
      runs && all.estimated_end ? `expected to end at ${clock(all.estimated_end)}` : null, runs && one.phase !== "restore" ? one.phase : null, runs && one.stopping ? "no further day starts" : null].filter(Boolean).join(", ")}`)),
    runs ? h("p", { class: "fields" }, h("button", { type: "button", "data-action": "stop", "data-id": one.id, disabled: one.stopping }, "Start no further day"), cancelButton(one)) : null,
    again ? h("p", {}, h("button", { type: "button", class: "main", "data-action": "retry", "data-id": one.id }, "Retry what failed, was canceled or was missing")) : null,
    facts([["Days", days.length && !next ? `${days[0].day} to ${days.at(-1).day}` : null], ["Archives", one.adls_url], ["Database", one.database], ["At once", one.parallel], ["Started", clock(one.started ?? one.created)], ["Ended", one.ended ? clock(one.ended) : null], ["Id", one.id]]),
    days.length ? [h("h3", { id: "its-days" }, `Days (${number(counts.total)})`), h("div", { class: "scroll" }, h("table", { class: "cards", "aria-labelledby": "its-days", "data-rows": one.id },
      h("thead", {}, h("tr", {}, ["Day", "Outcome", "Rows", "Ended", "What happened"].map((name) => h("th", { scope: "col", class: name === "Rows" ? "number" : null }, name)))),
      rows(one.id, days, (day) => day.day, (day) => [
        h("th", { scope: "row" }, day.operation_id ? h("a", { href: `#/restores/${encodeURIComponent(day.operation_id)}` }, day.day) : day.day),
        h("td", {}, badge(day.outcome, day.outcome)), h("td", { class: "number", "data-name": "rows" }, day.rows && ["restored", "running"].includes(day.outcome) ? number(day.rows) : ""), h("td", { class: "short", "data-name": "ended" }, day.ended ? clock(day.ended) : ""),
        h("td", { class: "wrap" }, whatHappened(day))])))] : null,
    next ? h("p", {}, h("button", { type: "button", "data-action": "more-days" }, "Show more days")) : null);
  return runs ? wait ?? 5 : null;
}

function whatHappened(day) {
  if (day.error) return `${day.error.code}: ${day.error.message}${day.next_attempt ? `; again at ${clock(day.next_attempt)}` : ""}`;
  if (day.outcome === "running") return day.stage ?? "";
  return day.state ?? "";
}

// --- which view, and when it is shown again ----------------------------------------------------------------------

let turn = 0, timer = 0, failures = 0, asOf = null;

function route() {
  const [path, search = ""] = location.hash.replace(/^#/, "").split("?");
  const [, view = "restores", id] = (path || "/restores").split("/");
  const query = new URLSearchParams(search);
  for (const anchor of document.querySelectorAll("nav a")) {
    if (anchor.getAttribute("href") === `#/${view}`) anchor.setAttribute("aria-current", "page"); else anchor.removeAttribute("aria-current");
  }
  const decoded = id === undefined ? undefined : safely(() => decodeURIComponent(id), id);
  if (view === "backfills") return decoded ? () => viewBackfill(decoded) : viewBackfills;
  if (view === "days") return () => viewDays(query);
  if (view !== "restores") return viewNothing;
  return decoded ? () => viewRestore(decoded) : () => viewRestores(query);
}

function viewNothing() {
  show(h("h2", {}, "There is no such view"), h("p", {}, "These are there: ", h("a", { href: "#/restores" }, "Restores"), ", ", h("a", { href: "#/backfills" }, "Backfills"), " and ", h("a", { href: "#/days" }, "Days"), "."));
  return null;
}

function safely(action, otherwise) { try { return action(); } catch { return otherwise; } }

async function refresh({ moved = false } = {}) {
  clearTimeout(timer);
  const mine = ++turn;
  if (moved) { drawChoice = null; $("ask").close(); show(h("p", { class: "soft" }, "Loading")); $("main").focus({ preventScroll: true }); }
  let wait = IDLE_SECONDS;
  try {
    wait = (await route()()) ?? IDLE_SECONDS;
    if (mine !== turn) return;
    failures = 0;
    asOf = new Date();
    $("key").hidden = true;
    $("forget").hidden = key() === "";
    say(`As of ${clock(asOf).slice(11)}.`);
  } catch (error) {
    if (mine !== turn) return;
    if (error instanceof Refused && [401, 403].includes(error.status) && !error.error?.code) {
      if (moved) show();
      askForKey(error.message);
      say("");
      return;
    }
    if (!(error instanceof Refused) && !(error instanceof Away)) console.error(error);
    failures += 1;
    wait = Math.min(MOST_WAIT_SECONDS, 2 ** failures);
    if (error instanceof Refused) {
      // Whatever else it refused, it took the key.
      $("key").hidden = true;
      show(h("h2", {}, "This view cannot be shown"), problem(error.error ?? { message: error.message }, "The function app refused this"));
      say("");
      wait = error.wait ?? MOST_WAIT_SECONDS;
    } else say(`The function app does not answer${asOf ? `; these figures are of ${clock(asOf).slice(11)}` : ""}. Trying again.`, true);
  }
  if (document.visibilityState === "visible") timer = setTimeout(refresh, 1000 * wait);
}

function say(text, isAway = false) {
  const line = $("freshness");
  line.classList.toggle("away", isAway);
  if (line.textContent !== text) line.textContent = text;
}

function confirmed(title, text) {
  const dialog = $("ask");
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

// Do what a button says, and show what came of it.
async function doIt(action) {
  try { await action(); await refresh(); } catch (error) {
    say(error instanceof Refused ? `That was refused: ${error.message}` : "The function app did not answer, so it is unknown whether this was done.", true);
  }
}

const ACTIONS = {
  skip: () => $("main").focus(),
  "forget-key": () => { sessionStorage.removeItem(KEY); askForKey("The key was forgotten."); show(); },
  more: () => doIt(async () => {
    const { answer } = await ask(ownPath(listed.next));
    listed.more.push(...answer.value);
    listed.next = answer.nextLink;
  }),
  cancel: async ({ id, kind }) => {
    const many = kind === "backfill" || location.hash.startsWith("#/backfills");
    if (await confirmed("Cancel it?", many ? "No further day starts. Days that run now are rolled back." : "A restore that runs is rolled back. The table is as it was before."))
      await doIt(() => ask(`${BASE}/${many ? "backfills" : "restores"}/${encodeURIComponent(id)}${many ? "?running=cancel" : ""}`, { method: "DELETE" }));
  },
  stop: ({ id }) => doIt(() => ask(`${BASE}/backfills/${encodeURIComponent(id)}`, { method: "DELETE" })),
  "more-days": () => doIt(async () => {
    const { answer } = await ask(ownPath(further.next));
    further.days.push(...answer.value);
    further.next = answer.nextLink;
  }),
  retry: ({ id }) => doIt(() => ask(`${BASE}/backfills/${encodeURIComponent(id)}/retry`, { method: "POST" })),
  pick: ({ day }) => {
    stop = day;
    if (!picked.from || picked.to) [picked.from, picked.to] = [day, ""];
    else if (day === picked.from) [picked.from, picked.to] = ["", ""];
    else [picked.from, picked.to] = day < picked.from ? [day, picked.from] : [picked.from, day];
    plan = null;
    drawChoice?.();
    // The choice that has just come up may stand before it.
    const one = document.querySelector(`[data-day="${CSS.escape(day)}"]`), choice = document.querySelector(".choice");
    if (one && choice && one.getBoundingClientRect().bottom > choice.getBoundingClientRect().top) one.scrollIntoView({ block: "nearest" });
  },
  start: async () => {
    const days = plan.answer.existing.length, many = `${number(days)} ${days === 1 ? "day" : "days"}`;
    if ((plan.existing === "replace" || (plan.existing === "stale" && days)) && !(await confirmed(`Replace ${many}?`, "The rows that these days have are removed, and the archives' rows are loaded."))) return;
    await doIt(async () => {
      const { answer } = await ask(`${BASE}/backfills`, { method: "POST", body: plan.body, headers: { "Operation-Id": plan.id } });
      plan = null;
      [picked.from, picked.to] = ["", ""];
      location.hash = `#/backfills/${encodeURIComponent(answer.id)}`;
    });
  },
};

const FORMS = {
  "key-form": (fields) => { sessionStorage.setItem(KEY, fields.get("key").trim()); $("key-field").value = ""; return refresh({ moved: true }); },
  filters: (fields) => { location.hash = `#/restores?${new URLSearchParams([...fields].filter(([, value]) => value))}`; },
  "days-form": (fields) => { [picked.from, picked.to, plan] = ["", "", null]; const wanted = `#/days?${new URLSearchParams(fields)}`; if (location.hash === wanted) return refresh(); location.hash = wanted; },
  "backfill-form": async (fields, form) => {
    [picked.from, picked.to] = [fields.get("from"), fields.get("to")];
    const body = { adls_url: form.dataset.pattern, dates: { from: picked.from, to: picked.to }, existing: fields.get("existing") };
    const asked = { body, existing: body.existing, id: crypto.randomUUID?.() ?? String(Math.random()).slice(2) };
    try { asked.answer = (await ask(`${BASE}/backfills`, { method: "POST", body: { ...body, dry_run: true } })).answer; } catch (error) { asked.error = error.error ?? { message: error.message }; }
    // Only now: a look in between would show a plan without its answer.
    plan = asked;
    drawChoice?.();
    const box = document.querySelector(".choice"), found = $("plan");
    if (box && found) box.scrollTop = found.offsetTop;
  },
};

document.addEventListener("click", (event) => {
  const source = event.target.closest("[data-action]");
  if (source === null) return;
  if (source.nodeName === "A") event.preventDefault();
  ACTIONS[source.dataset.action](source.dataset);
});
document.addEventListener("submit", (event) => {
  const action = FORMS[event.target.id];
  if (action === undefined) return;
  event.preventDefault();
  action(new FormData(event.target), event.target);
});
document.addEventListener("keydown", (event) => {
  const day = event.target.dataset?.day, by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 }[event.key];
  if (day === undefined || by === undefined) return;
  event.preventDefault();
  const next = new Date(Date.parse(day) + by * 86_400_000).toISOString().slice(0, 10);
  const button = document.querySelector(`[data-day="${next}"]`);
  if (button === null) return;
  stop = next;
  markDays();
  button.focus();
});
document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") refresh(); else clearTimeout(timer); });
addEventListener("hashchange", () => { takeKeyFromAddress(); refresh({ moved: true }); });
takeKeyFromAddress();
refresh({ moved: true });
