import type { ByteRange, ByteStream } from '../system/byte-stream.ts';
import type { Call } from './call.ts';

/** One message of an upload. The service has checked that offsets follow each other. */
export interface WritePart {
  readonly offset: number;
  /** A view of the message; may be empty. */
  readonly data: Uint8Array;
  /** `finish_write`. */
  readonly isLast: boolean;
}

/** What QueryWriteStatus answers. */
export interface WriteStatus {
  readonly committedBytes: number;
  readonly isComplete: boolean;
}

/** What a ByteStream name can stand for: blobs, log streams. The service finds the first that claims a name. */
export interface ByteResource {
  /** Whether this is the one for the name, judging by its form alone; the name may still be malformed. */
  claims(name: string): boolean;
  /** The bytes from `range`; `limit` absent means to the end. @throws invalid-argument for a malformed name, by the stream. */
  read(name: string, range: ByteRange, call: Call): ByteStream;
  /**
   * Takes parts until one is last, and asks once more to be told that none follows; may return before (R-BS-38).
   * @returns `committed_size`.
   */
  write(name: string, parts: AsyncGenerator<WritePart, void>, call: Call): Promise<number>;
  /** How far an upload is. */
  status(name: string, call: Call): Promise<WriteStatus>;
}
