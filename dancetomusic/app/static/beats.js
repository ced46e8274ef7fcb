// Beats and what a person may do to them. Beats are [time in seconds, position in the bar] in order;
// every function gives new ones that cover [0, duration).

export const MIN_INTERVAL_S = 0.16; // a little within the 20 to 400 BPM that the server takes
export const MAX_INTERVAL_S = 2.9;
const TAP_JITTER_S = 0.015; // standard deviation of a careful tap, at least

export const intervalOf = (beats) => median(beats.slice(1).map(([time], k) => time - beats[k][0]));
export const tempoOf = (beats) => (beats.length < 2 ? NaN : 60 / intervalOf(beats));
export const metreOf = (beats) => Math.max(1, ...beats.map(([, number]) => number));

// The beat nearest to a time.
export function nearest(beats, time) {
  const far = beats.map(([beat]) => Math.abs(beat - time));
  return far.indexOf(Math.min(...far));
}

// Beats are added at either end, an interval apart, and those outside are left out.
export function fill(beats, duration) {
  if (beats.length < 2) return beats;
  const metre = metreOf(beats);
  const filled = [...beats];
  const [first, last] = [filled[1][0] - filled[0][0], filled.at(-1)[0] - filled.at(-2)[0]];
  while (filled[0][0] >= first) filled.unshift([filled[0][0] - first, before(filled[0][1], metre)]);
  while (filled.at(-1)[0] + last < duration) filled.push([filled.at(-1)[0] + last, after(filled.at(-1)[1], metre)]);
  return filled.filter(([time]) => time >= 0 && time < duration);
}

// A steady grid with the beat `number` at `time`.
export function steady(interval, time, number, metre, duration) {
  const first = Math.ceil(-time / interval);
  const count = Math.ceil((duration - time) / interval) - first;
  return Array.from({ length: Math.max(0, count) }, (_, k) => [
    time + (first + k) * interval,
    barPosition(number - 1 + first + k, metre),
  ]);
}

// Every other beat, those at beat 1 among them; a bar keeps its number of beats and lasts twice as long.
export function half(beats, duration) {
  const [anchor, metre] = [downbeat(beats), metreOf(beats)];
  const kept = [];
  beats.forEach(([time], k) => {
    if ((k - anchor) % 2 === 0) kept.push([time, barPosition((k - anchor) / 2, metre)]);
  });
  return fits(kept) ? fill(kept, duration) : beats;
}

// A beat more between any two; a bar keeps its number of beats and lasts half as long.
export function double(beats, duration) {
  const [anchor, metre] = [downbeat(beats), metreOf(beats)];
  const all = [];
  beats.forEach(([time], k) => {
    all.push([time, barPosition(2 * (k - anchor), metre)]);
    if (k + 1 < beats.length) all.push([(time + beats[k + 1][0]) / 2, barPosition(2 * (k - anchor) + 1, metre)]);
  });
  return fits(all) ? fill(all, duration) : beats;
}

export function shift(beats, seconds, duration) {
  return fill(
    beats.map(([time, number]) => [time + seconds, number]),
    duration,
  );
}

// One beat is moved as far as its neighbours let it.
export function moveBeat(beats, index, time, duration) {
  const [left, right] = [beats[index - 1]?.[0], beats[index + 1]?.[0]];
  const least = Math.max(0, (left ?? -Infinity) + MIN_INTERVAL_S, (right ?? 0) - MAX_INTERVAL_S);
  const most = Math.min(duration - 1e-3, (right ?? Infinity) - MIN_INTERVAL_S, (left ?? Infinity) + MAX_INTERVAL_S);
  if (least > most) return beats;
  return beats.map((beat, k) => (k === index ? [Math.min(most, Math.max(least, time)), beat[1]] : beat));
}

export function setDownbeat(beats, index, metre = metreOf(beats)) {
  return beats.map(([time], k) => [time, barPosition(k - index, metre)]);
}

export const setMetre = (beats, metre) => setDownbeat(beats, downbeat(beats), metre);

// Period and phase of taps, some of which may be missing, doubled or off: every tap gets its number by the
// median interval, the period is the median of all slopes (Theil and Sen), the phase the median of what is
// left. Few taps say little of the tempo: a known interval within two standard errors of it is taken.
export function fitTaps(taps, known = []) {
  const times = [...taps].sort((a, b) => a - b);
  const steps = times.slice(1).map((time, k) => time - times[k]);
  const usual = median(steps.filter((step) => step >= MIN_INTERVAL_S && step <= MAX_INTERVAL_S));
  if (!(usual > 0)) return null;
  const numbered = [[0, times[0]]];
  for (const time of times.slice(1)) {
    const [number, at] = numbered.at(-1);
    const step = Math.round((time - at) / usual);
    if (step > 0) numbered.push([number + step, time]);
  }
  if (numbered.length < 4) return null;
  const slopes = numbered.flatMap(([n, t], k) => numbered.slice(k + 1).map(([m, u]) => (u - t) / (m - n)));
  const tapped = median(slopes);
  const [numbers, mean] = [numbered.map(([n]) => n), average(numbered.map(([n]) => n))];
  const rest = (interval) => numbered.map(([n, t]) => t - n * interval);
  const spread = 1.4826 * median(rest(tapped).map((value) => Math.abs(value - median(rest(tapped)))));
  const error = Math.max(TAP_JITTER_S, spread) / Math.sqrt(numbers.reduce((sum, n) => sum + (n - mean) ** 2, 0));
  const close = known
    .filter((interval) => Math.abs(interval - tapped) < 2 * error)
    .sort((a, b) => Math.abs(a - tapped) - Math.abs(b - tapped));
  const interval = close[0] ?? tapped;
  if (interval < MIN_INTERVAL_S || interval > MAX_INTERVAL_S) return null;
  return { interval, offset: median(rest(interval)), known: close.length > 0, count: numbered.length };
}

// What is sent to the server: 0.1 ms is finer than is audible.
export const rounded = (beats) => beats.map(([time, number]) => [Math.round(time * 1e4) / 1e4, number]);

const barPosition = (count, metre) => (((count % metre) + metre) % metre) + 1;
const after = (number, metre) => (number % metre) + 1;
const before = (number, metre) => ((number - 2 + metre) % metre) + 1;
const downbeat = (beats) => Math.max(0, beats.findIndex(([, number]) => number === 1));
const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

const fits = (beats) => {
  const steps = beats.slice(1).map(([time], k) => time - beats[k][0]);
  return steps.length > 0 && Math.min(...steps) >= MIN_INTERVAL_S && Math.max(...steps) <= MAX_INTERVAL_S;
};

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
