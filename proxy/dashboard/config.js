// config.js: the configuration in force (GET /v1/config), asked for again when another one is.

import { get } from "./api.js";
import { byId, setText } from "./dom.js";

const NONE = "–";

let shownMs = null; // since when the one that is shown is in force

function several(count, name) {
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}

function textOf({ file, text }) {
  if (text !== null) return text;
  return file === null ? "There is no file." : "Not shown: the token in it is written with escapes.";
}

export async function updateConfig({ config_ms: sinceMs }) {
  if (sinceMs === shownMs) return;
  const config = await get("v1/config");
  setText(byId("config-file"), config.file ?? "none");
  setText(byId("config-since"), new Date(config.since).toLocaleString());
  setText(byId("config-holds"), [several(config.sites, "site"), several(config.rules, "rule"), several(config.tests, "test")].join(", "));
  setText(byId("config-flags"), config.flags || NONE);
  setText(byId("config-kept"), config.kept.join(", ") || NONE);
  setText(byId("config-text"), textOf(config));
  shownMs = sinceMs;
}
