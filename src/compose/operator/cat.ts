import { TextDecoder } from 'node:util';
import { ReapiError } from '../../errors.ts';
import type { ByteStream } from '../../system/byte-stream.ts';
import { printActionResult } from './action-results.ts';
import { decodedText, type MessageForm } from './decoded-text.ts';
import type { NamedDigest } from './digest-argument.ts';
import { openBlob, readMessage, remoteBlobs } from './remote-blobs.ts';
import { withServer } from './server-connection.ts';
import type { Terminal } from './terminal.ts';

/** How a blob is printed: as it is, or as a message. */
export type BlobForm = 'raw' | MessageForm;

/** All forms, as they are spelled. */
export const BLOB_FORMS: readonly BlobForm[] = ['action', 'command', 'directory', 'tree', 'action-result', 'raw'];

/** What is to be printed. */
export interface CatOptions {
  readonly name: NamedDigest;
  /** Absent: the bytes as they are, unless they would confuse a terminal. */
  readonly form?: BlobForm;
  readonly signal: AbortSignal;
}

/**
 * `gantry cat`: prints a blob, or with `action-result` the result of the action that the digest names.
 * @throws blob-not-found, result-not-found, too-large, invalid-argument; as the calls do.
 */
export async function catBlob(target: string, terminal: Terminal, options: CatOptions): Promise<void> {
  const { name, form, signal } = options;
  if (form === 'action-result') return printActionResult(target, terminal, name, signal);
  await withServer(target, async (client) => {
    const store = remoteBlobs(client, name);
    if (form === undefined || form === 'raw') {
      const mustBeText = form === undefined && terminal.isTerminal.out;
      await copy(openBlob(store, name.digest, signal), terminal, mustBeText);
    } else {
      await terminal.writeOut(Buffer.from(decodedText(form, await readMessage(store, name.digest, signal))));
    }
  });
}

/** Writes as fast as the reader takes it, until it goes away. */
async function copy(bytes: ByteStream, terminal: Terminal, mustBeText: boolean): Promise<void> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  for await (const chunk of bytes) {
    if (mustBeText && !isText(decoder, chunk)) {
      const message = 'the blob is not text: give --as with its form (--as raw for the bytes), or write it to a file';
      throw new ReapiError('invalid-argument', message);
    }
    if (!(await terminal.writeOut(chunk))) return;
  }
}

/**
 * Whether bytes go on as UTF-8 text. Line feed, carriage return, tab and form feed are text; other control characters may do
 * anything to a terminal, those above U+007F too, and so may single bytes of other encodings.
 */
function isText(decoder: TextDecoder, chunk: Uint8Array): boolean {
  try {
    return !CONTROL.test(decoder.decode(chunk, { stream: true }));
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}

/** Control characters that are no text. */
const CONTROL = /[^\P{Cc}\t\n\f\r]|\p{Bidi_Control}/u;
