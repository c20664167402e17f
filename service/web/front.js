// Reads a loaded front, without requests. Its points rise in latency and in accuracy.
// `limited_ms` is what a budget limits: the predicted latency, or its bound where one is asked for.

/** Position of the most accurate point within `budget`, -1 if none is that fast. */
export function within(points, budget) {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle].limited_ms <= budget) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The step in latency that a trade shows: a millisecond, or a round tenth of the front's range if
 * that is below 5 ms or above 200 ms. */
export function step(points) {
  const range = points.at(-1).limited_ms - points[0].limited_ms;
  if (range >= 5 && range <= 200) return 1;
  const power = 10 ** Math.floor(Math.log10(range / 10));
  const unit = [1, 2, 5, 10].find((u) => u * power >= range / 10) ?? 10;
  return Number((unit * power).toPrecision(1));
}

/** Other budgets and what they change: for 0.1 points more, a step more, a step less. */
export function trades(points, index, budget) {
  const here = points[index];
  const amount = step(points);
  const to = (label, target) =>
    target >= 0 && target !== index && points[target]
      ? {
          label,
          budget: points[target].limited_ms,
          latency_ms: points[target].limited_ms - here.limited_ms,
          top1: points[target].top1 - here.top1,
        }
      : null;
  return [
    to("0.1 points more", points.findIndex((point) => point.top1 >= here.top1 + 0.1)),
    to(`${amount} ms more`, within(points, Math.max(budget, here.limited_ms) + amount)),
    to(`${amount} ms less`, within(points, Math.min(budget, points.at(-1).limited_ms) - amount)),
  ].filter(Boolean);
}

/** Whether the latency's axis needs powers: its ends are far apart. */
export const needsLog = (low, high) => high / low > 12;
