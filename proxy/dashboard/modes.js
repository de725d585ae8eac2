// modes.js: orders how a site is run: larder mode.

import { ApiError, get, orderMode } from "./api.js";
import { byId, make } from "./dom.js";

let shownMs = null; // since when the configuration is in force whose sites can be chosen
const modes = new Map(); // of each site that can be chosen, when the page last heard of it

// With its path even where that is "/": a name alone means every site of that name.
const nameOf = ({ site, path }) => site + path;
const labelOf = ({ site, path }) => (path === "/" ? site : site + path);

function showModeOfChosen() {
  byId("mode").value = modes.get(byId("mode-site").value) ?? "normal";
}

export async function updateModes({ config_ms: sinceMs }) {
  if (sinceMs === shownMs) return;
  const { modes: sites } = await get("v1/modes");
  const chosen = byId("mode-site").value;
  modes.clear();
  for (const site of sites) modes.set(nameOf(site), site.mode);
  byId("mode-site").replaceChildren(...sites.map((site) => make("option", { value: nameOf(site) }, labelOf(site))));
  if (modes.has(chosen)) byId("mode-site").value = chosen;
  showModeOfChosen();
  shownMs = sinceMs;
}

async function order() {
  const said = byId("mode-said");
  const name = byId("mode-site").value;
  try {
    const { modes: [site] } = await orderMode({ site: name, mode: byId("mode").value });
    modes.set(name, site.mode);
    said.textContent = `${labelOf(site)} is run ${site.mode === "record" ? "recording" : site.mode}, in force on every worker.`;
    said.className = "";
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    said.textContent = `Not changed: ${error.message}`;
    said.className = "bad";
  }
}

export function startOrdering() {
  byId("mode-site").addEventListener("change", showModeOfChosen);
  byId("modes").addEventListener("submit", (event) => {
    event.preventDefault();
    order();
  });
}
