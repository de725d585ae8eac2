// format.js: numbers as people read them. What is not known is a dash.

const NONE = "–";
const BYTES = ["B", "KB", "MB", "GB", "TB", "PB"];

function rounded(value) {
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

export function count(value) {
  if (!Number.isFinite(value)) return NONE;
  if (value >= 1e9) return `${rounded(value / 1e9)} G`;
  if (value >= 1e6) return `${rounded(value / 1e6)} M`;
  return value >= 1e4 ? `${rounded(value / 1e3)} k` : rounded(value);
}

export function bytes(value) {
  if (!Number.isFinite(value)) return NONE;
  let unit = 0;
  while (value >= 1000 && unit < BYTES.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : rounded(value)} ${BYTES[unit]}`;
}

export function percent(share) {
  if (!Number.isFinite(share)) return NONE;
  const value = share * 100;
  if (value > 0 && value < 0.1) return "<0.1 %";
  return `${value >= 99.95 || value === 0 ? value.toFixed(0) : value.toFixed(1)} %`;
}

export function duration(us) {
  if (!Number.isFinite(us)) return NONE;
  if (us < 1e3) return `${Math.round(us)} µs`;
  return us < 1e6 ? `${rounded(us / 1e3)} ms` : `${rounded(us / 1e6)} s`;
}

export function age(seconds) {
  if (!Number.isFinite(seconds)) return NONE;
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = units.findIndex(([size]) => seconds >= size);
  if (at < 0) return `${Math.round(seconds)} s`;
  const [size, name] = units[at];
  const rest = units[at + 1] && Math.floor((seconds % size) / units[at + 1][0]);
  return `${Math.floor(seconds / size)} ${name}${rest ? ` ${rest} ${units[at + 1][1]}` : ""}`;
}
