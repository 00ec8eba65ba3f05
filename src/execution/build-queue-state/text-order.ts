/** Compares texts by their characters, not as people would: pages must not depend on a language. */
export function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** A text that is equal exactly for equal maps, whatever their order. */
export function mapText(map: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(map).sort(([a], [b]) => compareTexts(a, b)));
}
