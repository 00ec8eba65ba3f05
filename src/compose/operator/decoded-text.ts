import { type DecodedMessage, decodeMessage } from '../../descriptors/decode-message.ts';
import { DescriptorPool } from '../../descriptors/descriptor-pool.ts';
import { ReapiError } from '../../errors.ts';
import { readableSize } from './readable.ts';
import { MAX_DECODED_BYTES } from './remote-blobs.ts';
import { jsonText } from './terminal.ts';

const PACKAGE = 'build.bazel.remote.execution.v2';

/** Messages that blobs hold, by the word for them on the command line. */
const MESSAGES = {
  action: `${PACKAGE}.Action`,
  command: `${PACKAGE}.Command`,
  directory: `${PACKAGE}.Directory`,
  tree: `${PACKAGE}.Tree`,
  'action-result': `${PACKAGE}.ActionResult`,
} as const;

/** What the bytes of a blob can be taken for. */
export type MessageForm = keyof typeof MESSAGES;

/**
 * A message as JSON: names as in the schema, bytes as base64, fields that the schema does not know under `@unknown`.
 * @throws too-large; invalid-argument if the bytes do not parse.
 */
export function decodedText(form: MessageForm, bytes: Uint8Array): string {
  if (bytes.length > MAX_DECODED_BYTES) {
    throw new ReapiError('too-large', `messages of more than ${readableSize(MAX_DECODED_BYTES)} are not decoded`);
  }
  return jsonText(decoded(form, bytes));
}

function decoded(form: MessageForm, bytes: Uint8Array): DecodedMessage {
  return decodeMessage(DescriptorPool.builtIn(), MESSAGES[form], bytes);
}
