// tables.js: reasons, URLs, sites, origins and purges.

import { byId, fillTable } from "./dom.js";
import { age, bytes, count, duration, percent } from "./format.js";
import { saved } from "./figures.js";

const ROWS_MAX = 100;
const PURGES_SHOWN = 12;
const STATES = {
  "in-service": ["in service", "good"],
  ejected: ["taken out", "bad"],
  probed: ["tried again", "warn"],
  unhealthy: ["fails its checks", "bad"],
};

const former = new Map(); // a site's counters in the last answer
let formerMs = 0;

// A site may be several, each below a path.
function modeText({ path, mode, configured }) {
  return `${path === "/" ? "" : `${path} `}${mode}${mode === configured ? "" : ", by order"}`;
}

// The modes that are not the usual one, by site: Map of name to texts.
function unusualModes(modes) {
  const texts = new Map();
  for (const one of modes) texts.set(one.site, [...(texts.get(one.site) ?? []), modeText(one)]);
  return texts;
}

function modeCell(name, unusual) {
  if (name === "") return "–";
  return unusual.has(name) ? { text: unusual.get(name).join("; "), mark: "warn" } : "normal";
}

const NO_REQUESTS = { requests: 0, hits: 0, failures: 0, sent_bytes: 0, received_bytes: 0, answers: 0, wait_us: 0 };

// `modes` of GET /v1/status, counters of GET /v1/sites.
export function showSites({ sites: counted }, { modes }) {
  const nowMs = performance.now();
  const seconds = (nowMs - formerMs) / 1000;
  const unusual = unusualModes(modes);
  const known = new Set(counted.map((site) => site.name));
  const sites = [...counted, ...[...unusual.keys()].filter((name) => !known.has(name)).map((name) => ({ name, ...NO_REQUESTS }))];
  const rows = sites
    .filter((site) => site.requests > 0 || site.received_bytes > 0 || unusual.has(site.name))
    .sort((a, b) => b.requests - a.requests)
    .slice(0, ROWS_MAX)
    .map((site) => {
      const rate = (site.requests - (former.get(site.name) ?? NaN)) / seconds;
      return {
        key: site.name,
        cells: [site.name === "" ? "(no site)" : site.name, modeCell(site.name, unusual), count(rate), count(site.requests), percent(site.hits / site.requests),
          percent(saved(site.sent_bytes, site.received_bytes)), bytes(site.sent_bytes), bytes(site.received_bytes),
          duration(site.wait_us / site.answers), count(site.failures)],
      };
    });
  fillTable(byId("sites"), rows);
  for (const site of sites) former.set(site.name, site.requests);
  formerMs = nowMs;
}

function stateOf(origin) {
  const [text, mark] = STATES[origin.state] ?? [origin.state, "warn"];
  return { text: origin.out_ms > 0 ? `${text}, ${age(Math.ceil(origin.out_ms / 1000))}` : text, mark };
}

export function showOrigins({ origins }) {
  const rows = origins.slice(0, ROWS_MAX).map((origin) => ({
    key: `${origin.site} ${origin.path} ${origin.url}`,
    cells: [origin.backup ? `${origin.url} (backup)` : origin.url, origin.path === "/" ? origin.site : `${origin.site} ${origin.path}`,
      stateOf(origin), count(origin.requests), count(origin.failures)],
  }));
  fillTable(byId("origins"), rows);
}

// Rows of GET /v1/report: where the origin sent something, or was asked.
export function showReport({ rows }) {
  fillTable(byId("report"), rows
    .filter((row) => row.received_bytes > 0 || row.requests > row.hits)
    .map((row) => ({
      key: `${row.site} ${row.reason} ${row.rule ?? ""} ${row.route}`,
      cells: [row.rule ? `${row.reason}, rule ${row.rule}: ${row.text}` : `${row.reason}: ${row.text}`, `${row.site} ${row.route}`.trim(),
        bytes(row.received_bytes), duration(row.origin_us), count(row.requests), row.hint],
    })));
}

// Rows of GET /v1/urls; `explain` is called with the one that was pressed.
export function showUrls({ rows }, explain) {
  fillTable(byId("urls"), rows.map((row) => ({
    key: row.url,
    cells: [{ text: row.url, press: () => explain(row.url) }, count(row.requests), percent(row.hits / row.requests), bytes(row.sent_bytes),
      bytes(row.received_bytes)],
  })));
}

let purges = []; // newest first
let heardOf = 0; // the newest sequence that the journal told

export const newestPurge = () => heardOf;

// Rows of GET /v1/purges: those after newestPurge(). The journal forgets purges that nothing stored is older than; the
// page remembers those that it has seen.
export function showPurges(rows) {
  heardOf = Math.max(heardOf, ...rows.map((purge) => purge.sequence));
  addPurges(rows);
}

// What this page has purged itself may be forgotten before it asks.
export function addPurges(rows) {
  const known = new Set(purges.map((purge) => purge.sequence));
  purges = [...purges, ...rows.filter((purge) => !known.has(purge.sequence))]
    .sort((a, b) => b.sequence - a.sequence)
    .slice(0, PURGES_SHOWN);
  fillTable(byId("purges"), purges.map((purge) => ({
    key: String(purge.sequence),
    cells: [String(purge.sequence), purge.time ? new Date(purge.time).toLocaleTimeString() : "–",
      purge.mode === "soft" ? `${purge.kind}, soft` : purge.kind, purge.name || "everything"],
  })));
}

export function forgetTables() {
  former.clear();
  purges = [];
  heardOf = 0;
}
