import assert from 'node:assert/strict';
import { ActionResult } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { Code } from '../../gen/google/rpc/code.ts';
import { completionOf, type LeaseEnd } from './lease-result.ts';

const status = (code: number, message = '') => ({ code, message, details: [] });
const result = (exitCode: number) => ActionResult.fromPartial({ exitCode });
const end = (parts: Partial<LeaseEnd>): LeaseEnd => ({
  status: status(Code.OK),
  result: undefined,
  wasAccepted: true,
  bot: 'b',
  ...parts,
});

describe('completionOf', () => {
  for (const [what, parts, verdict, code] of [
    ['exit code 0', { result: result(0) }, 'success', Code.OK],
    ['another exit code', { result: result(3) }, 'failure', Code.OK],
    ['a result without status', { result: result(0), status: undefined }, 'success', Code.OK],
    ['OK without a result', {}, 'worker-fault', Code.INTERNAL],
    ['neither status nor result', { status: undefined }, 'worker-fault', Code.INTERNAL],
    ['a timeout', { status: status(Code.DEADLINE_EXCEEDED) }, 'failure', Code.DEADLINE_EXCEEDED],
    ['a bad command', { status: status(Code.INVALID_ARGUMENT) }, 'failure', Code.INVALID_ARGUMENT],
    ['missing inputs', { status: status(Code.FAILED_PRECONDITION) }, 'failure', Code.FAILED_PRECONDITION],
    ['a lack of memory', { status: status(Code.RESOURCE_EXHAUSTED) }, 'exhausted', Code.RESOURCE_EXHAUSTED],
    ['a lost connection', { status: status(Code.UNAVAILABLE) }, 'worker-fault', Code.UNAVAILABLE],
    ['a fault', { status: status(Code.INTERNAL) }, 'worker-fault', Code.INTERNAL],
    ['an unknown code', { status: status(2) }, 'worker-fault', 2],
    ['a lack of rights in the store', { status: status(Code.PERMISSION_DENIED) }, 'worker-fault', 7],
    ['giving up', { status: status(Code.CANCELLED) }, 'worker-fault', Code.CANCELLED],
    ['a refusal', { status: status(Code.FAILED_PRECONDITION), wasAccepted: false }, 'worker-fault', 9],
    ['a timeout before ACTIVE was told', { status: status(4), wasAccepted: false }, 'failure', 4],
  ] as const) {
    it(`takes ${what} for ${verdict} and keeps the status (R-RW-10)`, () => {
      const completion = completionOf(end(parts));
      assert.equal(completion.verdict, verdict);
      assert.equal(completion.result.response.status?.code, code);
    });
  }

  it('leaves it to the server to record the result (R-RW-16)', () => {
    assert.equal(completionOf(end({ result: result(0) })).result.isRecordedByWorker, false);
  });

  it('keeps what a command did that took too long, and the details of the status', () => {
    const details = [{ typeUrl: 'type.googleapis.com/x', value: Buffer.from('y') }];
    const partial = ActionResult.fromPartial({ stdoutRaw: Buffer.from('so far') });
    const { response } = completionOf(end({ status: { code: 4, message: 'late', details }, result: partial })).result;
    assert.equal(Buffer.from(response.result?.stdoutRaw ?? []).toString(), 'so far');
    assert.deepEqual(response.status?.details, details);
  });

  it('names the bot in a result that names no worker, and leaves another name alone', () => {
    const worker = (so: ActionResult): string | undefined =>
      completionOf(end({ result: so })).result.response.result?.executionMetadata?.worker;
    assert.equal(worker(result(0)), 'b');
    assert.equal(worker(ActionResult.fromPartial({ executionMetadata: { worker: 'w' } })), 'w');
  });

  it('tells how long the command ran, if the bot says so', () => {
    const executionMetadata = {
      executionStartTimestamp: { seconds: 10n, nanos: 500_000_000 },
      executionCompletedTimestamp: { seconds: 12n, nanos: 0 },
    };
    assert.equal(completionOf(end({ result: ActionResult.fromPartial({ executionMetadata }) })).ranMs, 1500);
    assert.equal(completionOf(end({ result: result(0) })).ranMs, undefined);
  });

  it('says why, for people', () => {
    const cause = (parts: Partial<LeaseEnd>): string | undefined => completionOf(end(parts)).cause;
    assert.equal(cause({ result: result(0) }), undefined);
    assert.equal(cause({ result: result(3) }), 'exit code 3');
    assert.equal(cause({ status: status(14, 'no route') }), 'no route');
    assert.equal(cause({ status: status(9, 'no gpu'), wasAccepted: false }), 'refused: no gpu');
    assert.equal(cause({ status: status(13) }), 'status code 13');
  });
});
