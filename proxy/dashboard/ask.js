// ask.js: the URL box: larder why, and purging what it names.

import { ApiError, get, purge } from "./api.js";
import { byId, make } from "./dom.js";
import { age, bytes } from "./format.js";
import { addPurges } from "./tables.js";

const ACTIONS = {
  hit: "From the store",
  "hit-revalidate": "From the store, revalidated behind",
  revalidate: "Revalidated at the origin, then answered",
  fetch: "Fetched from the origin",
  pass: "Fetched from the origin, past the cache",
  reply: "Answered by larder itself",
};

function fact(list, name, value) {
  if (value !== undefined && value !== null && value !== "") list.append(make("dt", {}, name), make("dd", {}, value));
}

function facts(why) {
  const list = make("dl", { className: "facts" });
  const { verdict } = why;
  fact(list, "Reason", `${verdict.reason}${verdict.source ? ` (${verdict.source})` : ""}`);
  fact(list, "Rule", verdict.rule);
  fact(list, "To change it", verdict.hint);
  fact(list, "Purged by", verdict.purged && `${verdict.purged.kind} ${verdict.purged.name}, sequence ${verdict.purged.sequence}`);
  fact(list, "Site", why.site);
  fact(list, "Rules that match", why.rules?.filter((rule) => rule.matches === "yes").map((rule) => rule.name).join(", "));
  fact(list, "Key", why.key && make("code", {}, why.key));
  fact(list, "Cache-Status", why.answer?.cache_status && make("code", {}, why.answer.cache_status));
  return list;
}

function headRow(columns) {
  return make("thead", {}, make("tr", {}, ...columns.map(([text, className]) => make("th", { scope: "col", className }, text))));
}

function variants(why) {
  if (!why.variants) return null;
  if (why.variants.length === 0) return make("p", { className: "empty" }, "Nothing is stored for this URL.");
  const columns = [["Stored", ""], ["Status", "number"], ["Size", "number"], ["Age", "number"], ["Lifetime", "number"], ["Vary", "wide"]];
  const rows = why.variants.map((variant) => make("tr", {},
    make("td", {}, variant.stored ? new Date(variant.stored).toLocaleString() : "–", variant.selected ? " (selected)" : ""),
    make("td", { className: "number" }, String(variant.status)),
    make("td", { className: "number" }, bytes(variant.bytes)),
    make("td", { className: "number" }, age(variant.freshness.age)),
    make("td", { className: "number" }, `${age(variant.freshness.lifetime)}${variant.freshness.fresh ? "" : ", stale"}`),
    make("td", { className: "wide" }, Object.entries(variant.selection).map(([name, value]) => `${name}: ${value ?? "(none)"}`).join(", ") || "–")));
  return make("table", { ariaLabel: "What is stored" }, headRow(columns), make("tbody", {}, ...rows));
}

function showWhy(why) {
  const { verdict } = why;
  const text = verdict.error ?? verdict.text;
  const headline = make("p", { className: "verdict" }, make("b", {}, ACTIONS[verdict.action] ?? verdict.action), text ? `: ${text}` : "");
  const all = make("details", {}, make("summary", {}, "All of it, as JSON"), make("pre", { tabIndex: 0 }, JSON.stringify(why, null, 2)));
  byId("answer").replaceChildren(...[headline, facts(why), variants(why), all].filter(Boolean));
}

function showProblem(error) {
  byId("answer").replaceChildren(make("p", { className: "bad" }, error.message));
}

async function ask() {
  const parameters = new URLSearchParams({ url: byId("url").value.trim() });
  for (const line of byId("fields").value.split("\n").map((text) => text.trim()).filter(Boolean)) parameters.append("field", line);
  try {
    showWhy(await get("v1/why", parameters));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    showProblem(error);
  }
}

async function purgeUrl(soft) {
  const said = byId("purged");
  if (!byId("url").reportValidity()) return;
  const url = byId("url").value.trim();
  try {
    const { sequence } = await purge({ urls: [url], soft });
    addPurges([{ sequence, time: new Date().toISOString(), kind: "url", mode: soft ? "soft" : "hard", name: url }]);
    said.textContent = `${soft ? "Purged softly" : "Purged"}, sequence ${sequence}: in force on every worker.`;
    said.className = "";
    await ask();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    said.textContent = `Not purged: ${error.message}`;
    said.className = "bad";
  }
}

// Puts the URL into the box and asks.
export function explain(url) {
  byId("url").value = url;
  byId("purged").textContent = "";
  byId("url").focus();
  ask();
}

export function startAsking() {
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    byId("purged").textContent = "";
    ask();
  });
  byId("purge-hard").addEventListener("click", () => purgeUrl(false));
  byId("purge-soft").addEventListener("click", () => purgeUrl(true));
}
