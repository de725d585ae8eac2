// api.js: asking the administration that served this page.

const KEPT_AS = "larder-token";
const TIMEOUT_MS = 5000;
const ORDER_TIMEOUT_MS = 60000;

// `status` 0: no answer at all.
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEPT_AS),
  set: (text) => sessionStorage.setItem(KEPT_AS, text),
  forget: () => sessionStorage.removeItem(KEPT_AS),
};

async function ask(path, options, timeout) {
  const headers = { ...options.headers };
  if (token.get() !== null) headers.Authorization = `Bearer ${token.get()}`;
  let response;
  let answer;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", signal: AbortSignal.timeout(timeout) });
    answer = await response.json();
  } catch {
    throw new ApiError(response?.status ?? 0, "larder does not answer");
  }
  if (!response.ok) throw new ApiError(response.status, answer.error ?? `status ${response.status}`);
  return answer;
}

export function get(path, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  return ask(query ? `${path}?${query}` : path, {}, TIMEOUT_MS);
}

function post(path, order) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(order) };
  return ask(path, options, ORDER_TIMEOUT_MS);
}

export const purge = (order) => post("v1/purge", order);
export const orderMode = (order) => post("v1/mode", order);
