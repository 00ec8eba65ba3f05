import type { PropertySet, Requirement, WorkerOffer } from '../platform/platform.ts';

/** Most characters of a platform: it stands in one column of a table. */
const MAX_LENGTH = 500;

/** What an action needs, for people: `ISA=x86-64,x86-avx2 OSFamily=linux`, and what it takes: `cores:2`. */
export function requirementText(needs: Requirement): string {
  const takes = (needs.takes ?? []).map(({ name, amount }) => `${name}:${amount}`);
  return clipped([propertiesText(needs), ...takes].filter((text) => text !== '').join(' ') || 'any');
}

/** What a worker offers, for people: its alternatives, and what its slots share. */
export function offerText(offer: WorkerOffer): string {
  const alternatives = offer.alternatives.map((alternative) => propertiesText(alternative) || 'any').join(' or ');
  const capacity = (offer.capacity ?? []).map(({ name, amount }) => `${name}:${amount}`);
  return clipped([alternatives, ...capacity].join(' '));
}

function propertiesText({ properties }: PropertySet): string {
  return properties.map(({ name, values }) => `${name}=${values.join(',')}`).join(' ');
}

function clipped(text: string): string {
  return text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text;
}
