import type { PoolReport } from '../../execution/trace/simulation-report.ts';

/** A pool in words: `OSFamily=linux ISA=x86-64 or OSFamily=wasi, size class 2, for main`. Not safe for a terminal as it is. */
export function offerWords({ offer, prefix }: Pick<PoolReport, 'offer' | 'prefix'>): string {
  const alternatives = offer.alternatives.map(({ properties }) =>
    properties.map(({ name, values }) => `${name}=${values.join('+')}`).join(' '),
  );
  const sizeClass = offer.sizeClass === undefined ? '' : `, size class ${offer.sizeClass}`;
  const names = alternatives.map((each) => (each === '' ? 'no properties' : each));
  return `${names.join(' or ')}${sizeClass}${prefix === '' ? '' : `, for ${prefix}`}`;
}
