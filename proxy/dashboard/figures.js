// figures.js: what happened between samples of the counters (GET /v1/history). Nothing here touches the page.

export const SPAN_S = 600;
const MAX_SAMPLES = 900; // a clock that was set back may give more than one a second

// The samples of one life of the process, oldest first.
export class History {
  constructor() {
    this.samples = [];
    this.startedMs = 0;
    this.boundsUs = [];
  }

  get newestMs() {
    return this.samples.length > 0 ? this.samples[this.samples.length - 1].time_ms : null;
  }

  // False: the process is another one; ask again for everything.
  add(answer) {
    const same = this.startedMs === answer.started_ms;
    const partial = this.samples.length > 0;
    if (!same) this.samples = [];
    this.startedMs = answer.started_ms;
    this.boundsUs = answer.wait_bounds_us;
    if (!same && partial) return false;
    this.samples.push(...answer.samples);
    const oldest = (this.newestMs ?? 0) - (SPAN_S + 60) * 1000;
    this.samples = this.samples.filter((sample) => sample.time_ms >= oldest).slice(-MAX_SAMPLES);
    return true;
  }

  // What was counted in the `seconds` before the sample at `index`; null: nothing is known yet.
  between(index, seconds) {
    const last = this.samples[index];
    let first = index;
    while (first > 0 && last.time_ms - this.samples[first - 1].time_ms <= seconds * 1000 + 500) first--;
    return first === index ? null : difference(this.samples[first], last, this.boundsUs);
  }

  recent(seconds) {
    return this.samples.length < 2 ? null : this.between(this.samples.length - 1, seconds);
  }
}

function difference(first, last, boundsUs) {
  const seconds = (last.time_ms - first.time_ms) / 1000;
  const of = (name) => last[name] - first[name];
  const waits = last.waits.map((value, i) => value - first.waits[i]);
  const requests = of("requests");
  return {
    requestsPerS: requests / seconds,
    hitsPerS: of("hits") / seconds,
    sentPerS: of("sent_bytes") / seconds,
    receivedPerS: of("received_bytes") / seconds,
    hitRatio: requests > 0 ? of("hits") / requests : NaN,
    failures: of("failures"),
    saved: saved(of("sent_bytes"), of("received_bytes")),
    median: quantile(waits, boundsUs, 0.5),
    p95: quantile(waits, boundsUs, 0.95),
  };
}

// Of the bytes that clients got, the share that no origin had to send.
export function saved(sent, received) {
  return sent > 0 ? Math.max(0, 1 - received / sent) : NaN;
}

// Between the bounds of its bucket a value is taken to lie evenly.
export function quantile(counts, bounds, share) {
  const total = counts.reduce((sum, value) => sum + value, 0);
  if (total <= 0) return NaN;
  let below = 0;
  for (let i = 0; i < counts.length; i++) {
    if (below + counts[i] >= share * total && counts[i] > 0) {
      const low = i === 0 ? 0 : bounds[i - 1];
      const high = i < bounds.length ? bounds[i] : low;
      return low + (high - low) * ((share * total - below) / counts[i]);
    }
    below += counts[i];
  }
  return bounds[bounds.length - 1];
}
