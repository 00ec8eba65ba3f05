/** What a victim is to do, as JSON in its first argument. */
export interface Orders {
  readonly folder: string;
  readonly seed: number;
  readonly sync: 'group' | 'none';
  /** Its clock begins here: the time all victims of the folder have lived. */
  readonly startMs: number;
  /** Numbers from here on are new: of blobs, and of versions of entries. */
  readonly firstNumber: number;
  readonly operations: number;
  readonly prunes: boolean;
  readonly ends: 'cleanly' | 'abruptly';
  /** It ends itself before that call to the file system of a phase; `half`: half a write is done first. */
  readonly dieIn?: {
    readonly phase: 'open' | 'load' | 'prune' | 'close';
    readonly atCall: number;
    readonly half: boolean;
  };
}
