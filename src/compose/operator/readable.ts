const UNITS = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** About how many bytes, for people: `512 B`, `1.5 GiB`. */
export function readableSize(bytes: number): string {
  let value = bytes;
  let unit = 'B';
  for (const next of UNITS) {
    // What would be rounded up to 1024.0 belongs to the next unit.
    if (value < 1023.95) break;
    value /= 1024;
    unit = next;
  }
  return unit === 'B' ? `${Math.round(value)} B` : `${value.toFixed(1)} ${unit}`;
}

/** About how long, for people: `7 s`, `3 min 20 s`, `5 h 2 min`, `3 d 4 h`. */
export function readableDuration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return pair(whole, 60, 'min', 1, 's');
  if (whole < 86_400) return pair(whole, 3600, 'h', 60, 'min');
  return pair(whole, 86_400, 'd', 3600, 'h');
}

/** A number of things, with separators: `1,234,567`. */
export function readableCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** A share of a whole in percent, 0 of nothing: `12.5 %`. */
export function readableShare(part: number, whole: number): string {
  return `${(whole === 0 ? 0 : (100 * part) / whole).toFixed(1)} %`;
}

function pair(...[seconds, large, largeName, small, smallName]: readonly [number, number, string, number, string]) {
  return `${Math.floor(seconds / large)} ${largeName} ${Math.floor((seconds % large) / small)} ${smallName}`;
}
