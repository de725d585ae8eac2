// dashboard.js: asks once a second and shows what comes. The history is the server's at first, then kept here.

import { ApiError, get, token } from "./api.js";
import { explain, startAsking } from "./ask.js";
import { makeCharts } from "./charts.js";
import { updateConfig } from "./config.js";
import { byId, setText } from "./dom.js";
import { History, saved } from "./figures.js";
import { age, bytes, count, duration, percent } from "./format.js";
import { startOrdering, updateModes } from "./modes.js";
import { forgetTables, newestPurge, showOrigins, showPurges, showReport, showSites, showUrls } from "./tables.js";

const INTERVAL_MS = 1000;
const TRAFFIC_INTERVAL_MS = 5000;
const TRAFFIC_ROWS = 10;
const RATE_OVER_S = 5;
const SHARE_OVER_S = 60;

const history = new History();
const drawCharts = makeCharts();

function show(id, text) {
  setText(byId(id), text);
}

function showProcess(status) {
  const workers = `${status.workers} worker${status.workers === 1 ? "" : "s"}`;
  const file = status.config_file ? `, ${status.config_file}` : "";
  show("process", `${status.version}, up ${age(status.uptime_s)}, ${workers}${file}`);
}

function showTotals({ requests, store, connections, connection_limit: limit }) {
  show("hit-ratio-total", `${percent(requests.hits / requests.total)} in all`);
  show("requests-total", `${count(requests.total)}, ${count(requests.failures)} with 5xx`);
  show("sent-total", bytes(requests.sent_bytes));
  show("received-total", bytes(requests.received_bytes));
  show("saved-total", `${bytes(Math.max(0, requests.sent_bytes - requests.received_bytes))} in all`);
  show("store", store.failed ? "failed" : percent(store.used_bytes / store.limit_bytes));
  show("store-note", `${bytes(store.used_bytes)}, ${count(store.objects)} stored`);
  show("connections", count(connections));
  show("connections-note", `${count(requests.in_flight)} in flight, limit ${count(limit)}`);
}

function showRates() {
  const rates = history.recent(RATE_OVER_S);
  const shares = history.recent(SHARE_OVER_S);
  show("requests", `${count(rates?.requestsPerS)}/s`);
  show("sent", `${bytes(rates?.sentPerS)}/s`);
  show("received", `${bytes(rates?.receivedPerS)}/s`);
  show("hit-ratio", percent(shares?.hitRatio));
  show("saved", percent(shares?.saved));
  show("latency", duration(shares?.median));
  show("latency-p95", `95 % within ${duration(shares?.p95)}`);
}

function setState(state, text) {
  document.body.dataset.state = state;
  show("state", text);
}

async function updateHistory() {
  const since = history.newestMs;
  if (!history.add(await get("v1/history", since === null ? {} : { since }))) {
    forgetTables();
    trafficAt = -Infinity;
    history.add(await get("v1/history"));
  }
}

let trafficAt = -Infinity;

// Reasons and URLs: what is told of them changes slowly, and is longer.
async function updateTraffic() {
  if (performance.now() - trafficAt < TRAFFIC_INTERVAL_MS) return;
  const [report, urls] = await Promise.all([get("v1/report", { limit: TRAFFIC_ROWS }), get("v1/urls", { limit: TRAFFIC_ROWS })]);
  trafficAt = performance.now();
  showReport(report);
  showUrls(urls, explain);
}

async function update() {
  await updateHistory();
  const [status, sites, { purges }] = await Promise.all([get("v1/status"), get("v1/sites"), get("v1/purges", { since: newestPurge() })]);
  showProcess(status);
  showTotals(status);
  showRates();
  drawCharts(history);
  showSites(sites, status);
  showOrigins(sites);
  showPurges(purges);
  await updateConfig(status);
  await updateModes(status);
  await updateTraffic();
}

// Resolves when a token was entered.
function askForToken(wrong) {
  const dialog = byId("token-dialog");
  setState("token", "a token is wanted");
  show("token-error", wrong ? "This is not the token of [admin]." : "");
  byId("token").value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    byId("token-form").onsubmit = (event) => {
      event.preventDefault();
      token.set(byId("token").value.trim());
      dialog.close();
      resolve();
    };
    dialog.oncancel = (event) => event.preventDefault(); // there is nothing to see without
  });
}

async function step() {
  try {
    await update();
    setState("live", "live");
    byId("forget").hidden = token.get() === null;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) {
      const wrong = token.get() !== null;
      token.forget();
      await askForToken(wrong);
    } else {
      setState("down", error.status === 0 ? "larder does not answer, trying again" : error.message);
    }
  }
}

async function run() {
  for (;;) {
    await step();
    await new Promise((resolve) => { setTimeout(resolve, INTERVAL_MS); });
  }
}

byId("forget").addEventListener("click", () => {
  token.forget();
  location.reload();
});
startAsking();
startOrdering();
run();
