/** A law that does not hold. */
export class Violation extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Violation';
  }
}

/** @throws Violation unless it holds. */
export function check(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Violation(message);
}
