// Round numbers for the axes of charts.

/** About `count` round numbers between `low` and `high`. */
export function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const unit = [1, 2, 5, 10].find((u) => u * power >= raw) * power;
  const found = [];
  for (let i = Math.ceil(low / unit); i * unit <= high; i++) found.push(Number((i * unit).toPrecision(12)));
  return found;
}

/** 1, 2, 5 times powers of ten between `low` and `high`. */
export function logTicks(low, high) {
  const found = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p++)
    for (const unit of [1, 2, 5]) {
      const value = Number((unit * 10 ** p).toPrecision(6));
      if (value >= low && value <= high) found.push(value);
    }
  return found;
}
