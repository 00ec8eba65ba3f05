import { cutText } from '../action-cache/misses/cut-text.ts';
import { ReapiError } from '../errors.ts';
import { type ActionResult, ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Status } from '../gen/google/rpc/status.ts';

/** Longest text that stays in a response that would be too large, in characters. */
const MAX_TEXT_LENGTH = 4096;

/**
 * An encoded response that its client can receive (R-XC-05). Workers may send more than that: then what was inlined, and has a
 * digest as well, is left out first, and long texts are cut; beside a status of failure everything else is.
 * @throws too-large if that is not enough. A client would take the loss of a large message for one of the network, and execute again.
 */
export function encodeResponse(response: ExecuteResponse, maxBytes: number): Uint8Array {
  const whole = encoded(response);
  if (whole.length <= maxBytes) return whole;
  const message = cutText(response.message, MAX_TEXT_LENGTH);
  const status = response.status && { ...response.status, message: cutText(response.status.message, MAX_TEXT_LENGTH) };
  const result = response.result && withoutCopies(response.result);
  const slim = encoded({ ...response, result, status, message });
  if (slim.length <= maxBytes) return slim;
  if (status !== undefined && status.code !== 0) return encoded(bare(status, message));
  const text = `the result has ${slim.length} bytes, at most ${maxBytes} can be sent (rpc.maxSendMessageBytes)`;
  throw new ReapiError('too-large', text);
}

function withoutCopies(result: ActionResult): ActionResult {
  const none = new Uint8Array();
  return {
    ...result,
    stdoutRaw: result.stdoutDigest === undefined ? result.stdoutRaw : none,
    stderrRaw: result.stderrDigest === undefined ? result.stderrRaw : none,
    outputFiles: result.outputFiles.map((file) => ({
      ...file,
      contents: file.digest === undefined ? file.contents : none,
    })),
  };
}

function bare(status: Status, message: string): ExecuteResponse {
  return ExecuteResponse.fromPartial({ status: { ...status, details: [] }, message });
}

/** The encoder's buffer may be larger than what it wrote. */
function encoded(response: ExecuteResponse): Uint8Array {
  return Uint8Array.from(ExecuteResponse.encode(response).finish());
}
