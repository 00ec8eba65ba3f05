import assert from 'node:assert/strict';
import { type DecodedMessage, decodeMessage } from '../src/descriptors/decode-message.ts';
import { DescriptorPool } from '../src/descriptors/descriptor-pool.ts';
import { DigestFunction_Value, ExecuteResponse } from '../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type CurrentState,
  SynchronizeRequest,
  SynchronizeResponse,
} from '../src/gen/pkg/proto/remoteworker/remoteworker.ts';
import type { Codec } from '../src/rpc/methods.ts';

/**
 * Bytes that Buildbarn's own generated code wrote. Its schema cannot be fetched by `scripts/check-wire`, so these are
 * what guards our transcription of it.
 */
interface Golden<T> {
  readonly what: string;
  readonly hex: string;
  /** As ts-proto has it. */
  readonly message: T;
  /** As google-protobuf reads it. */
  readonly shown: DecodedMessage;
}

/** SHA-256 of nothing, with a size that is not. */
const DIGEST = { hash: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', sizeBytes: 7n };
const SHOWN_DIGEST = { hash: DIGEST.hash, size_bytes: '7' };

const PROPERTIES = [
  { name: 'ISA', value: 'x86-64' },
  { name: 'OSFamily', value: 'linux' },
];
const SLOT = { workerId: { thread: '0' }, platform: { properties: PROPERTIES } };
const SHOWN_SLOT = { worker_id: { thread: '0' }, platform: { properties: PROPERTIES } };

type Executing = Extract<CurrentState['workerState'], { $case: 'executing' }>['value'];

function executing(executionState: Executing['executionState']): CurrentState {
  return { workerState: { $case: 'executing', value: { actionDigest: DIGEST, executionState } } };
}

const REQUESTS: readonly Golden<SynchronizeRequest>[] = [
  {
    what: 'a request of an idle slot',
    hex: [
      '0a0b0a067468726561641201301203612f621a220a0d0a0349534112067838362d36340a110a084f5346616d696c7912',
      '056c696e757822020a0028033001',
    ].join(''),
    message: SynchronizeRequest.fromPartial({
      ...SLOT,
      instanceNamePrefix: 'a/b',
      sizeClass: 3,
      preferBeingIdle: true,
      currentState: { workerState: { $case: 'idle', value: {} } },
    }),
    shown: {
      ...SHOWN_SLOT,
      instance_name_prefix: 'a/b',
      current_state: { idle: {} },
      size_class: 3,
      prefer_being_idle: true,
    },
  },
  {
    what: 'a request of a slot that runs an action',
    hex: [
      '0a0b0a067468726561641201301a220a0d0a0349534112067838362d36340a110a084f5346616d696c7912056c696e75',
      '78224a12480a440a40653362306334343239386663316331343961666266346338393936666239323432376165343165',
      '3436343962393334636134393539393162373835326238353510072200',
    ].join(''),
    message: SynchronizeRequest.fromPartial({
      ...SLOT,
      currentState: executing({ $case: 'running', value: {} }),
    }),
    shown: {
      ...SHOWN_SLOT,
      current_state: { executing: { action_digest: SHOWN_DIGEST, running: {} } },
    },
  },
  {
    what: 'a request that reports a result',
    hex: [
      '0a0b0a067468726561641201301a220a0d0a0349534112067838362d36340a110a084f5346616d696c7912056c696e75',
      '782251124f0a440a40653362306334343239386663316331343961666266346338393936666239323432376165343165',
      '34363439623933346361343935393931623738353262383535100732070a0220052a016d',
    ].join(''),
    message: SynchronizeRequest.fromPartial({
      ...SLOT,
      currentState: executing({
        $case: 'completed',
        value: ExecuteResponse.fromPartial({ result: { exitCode: 5 }, message: 'm' }),
      }),
    }),
    shown: {
      ...SHOWN_SLOT,
      current_state: {
        executing: { action_digest: SHOWN_DIGEST, completed: { result: { exit_code: 5 }, message: 'm' } },
      },
    },
  },
];

const RESPONSES: readonly Golden<SynchronizeResponse>[] = [
  {
    what: 'a response that asks to be idle',
    hex: '0a0508e807100512020a00',
    message: SynchronizeResponse.fromPartial({
      nextSynchronizationAt: { seconds: 1000n, nanos: 5 },
      desiredState: { workerState: { $case: 'idle', value: {} } },
    }),
    shown: {
      next_synchronization_at: { seconds: '1000', nanos: 5 },
      desired_state: { idle: {} },
    },
  },
  {
    what: 'a response that hands out an action',
    hex: [
      '0a0308e80712ee0112eb010a440a40653362306334343239386663316331343961666266346338393936666239323432',
      '3761653431653436343962393334636134393539393162373835326238353510071290010a440a406533623063343432',
      '393866633163313439616662663463383939366662393234323761653431653436343962393334636134393539393162',
      '3738353262383535100712440a4065336230633434323938666331633134396166626634633839393666623932343237',
      '61653431653436343962393334636134393539393162373835326238353510073202083c220308e7073a017342060a01',
      '6b1201764801',
    ].join(''),
    message: SynchronizeResponse.fromPartial({
      nextSynchronizationAt: { seconds: 1000n },
      desiredState: {
        workerState: {
          $case: 'executing',
          value: {
            actionDigest: DIGEST,
            action: { commandDigest: DIGEST, inputRootDigest: DIGEST, timeout: { seconds: 60n } },
            queuedTimestamp: { seconds: 999n },
            instanceNameSuffix: 's',
            w3cTraceContext: { k: 'v' },
            digestFunction: DigestFunction_Value.SHA256,
          },
        },
      },
    }),
    shown: {
      next_synchronization_at: { seconds: '1000' },
      desired_state: {
        executing: {
          action_digest: SHOWN_DIGEST,
          action: {
            command_digest: SHOWN_DIGEST,
            input_root_digest: SHOWN_DIGEST,
            timeout: { seconds: '60' },
          },
          queued_timestamp: { seconds: '999' },
          instance_name_suffix: 's',
          w3c_trace_context: { k: 'v' },
          digest_function: 'SHA256',
        },
      },
    },
  },
];

describe('the worker protocol on the wire', () => {
  const pool = DescriptorPool.builtIn();

  function check<T>(name: string, codec: Codec<T>, { what, hex, message, shown }: Golden<T>): void {
    it(`is Buildbarn's for ${what}`, () => {
      const bytes = Buffer.from(hex, 'hex');
      assert.deepEqual(codec.decode(bytes), message);
      assert.equal(Buffer.from(codec.encode(message).finish()).toString('hex'), hex);
      assert.deepEqual(decodeMessage(pool, `buildbarn.remoteworker.${name}`, bytes), shown);
    });
  }

  for (const golden of REQUESTS) check('SynchronizeRequest', SynchronizeRequest, golden);
  for (const golden of RESPONSES) check('SynchronizeResponse', SynchronizeResponse, golden);

  it('carries what is ours in fields 1000 and up of both messages', () => {
    const numbers = { SynchronizeRequest: [1000], SynchronizeResponse: [1000, 1001] };
    for (const [name, expected] of Object.entries(numbers)) {
      const fields = pool.message(`buildbarn.remoteworker.${name}`)?.fields ?? [];
      const ours = fields.filter((field) => field.typeName?.startsWith('gantry.') === true);
      assert.deepEqual(
        ours.map((field) => field.number),
        expected,
      );
    }
  });
});
