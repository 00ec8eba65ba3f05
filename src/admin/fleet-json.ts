/**
 * A message of `gantry.v1.Fleet` as JSON, for programs and `curl`: names as in generated code, numbers for numbers, and no key for
 * what is not set.
 */
export function fleetJson(message: object): string {
  return JSON.stringify(message, (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value));
}
