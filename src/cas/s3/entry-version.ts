/** What orders the values of one entry, whoever wrote them: a higher sequence number is newer, among equal ones the higher writer. */
export interface EntryVersion {
  /** A Lamport counter: each writer goes on above all it has seen. Below 2^48. */
  readonly sequence: number;
  /** 16 hex digits. */
  readonly writer: string;
}

/** Less than 0 if `a` is older, 0 if it is the same, else more. */
export function compareVersions(a: EntryVersion, b: EntryVersion): number {
  if (a.sequence !== b.sequence) return a.sequence - b.sequence;
  if (a.writer === b.writer) return 0;
  return a.writer < b.writer ? -1 : 1;
}
