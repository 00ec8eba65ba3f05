import assert from 'node:assert/strict';
import { DescriptorPool } from '../src/descriptors/descriptor-pool.ts';
import {
  DigestFunction_Value,
  ExecuteResponse,
  ExecutionStage_Value,
  RequestMetadata,
} from '../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  AddOrRemoveDrainRequest,
  GetOperationRequest,
  GetOperationResponse,
  InvocationName,
  KillOperationsRequest,
  ListDrainsRequest,
  ListDrainsResponse,
  ListInvocationChildrenRequest,
  ListInvocationChildrenRequest_Filter,
  ListInvocationChildrenResponse,
  ListOperationsRequest,
  ListOperationsResponse,
  ListPlatformQueuesResponse,
  ListQueuedOperationsRequest,
  ListQueuedOperationsResponse,
  ListWorkersRequest,
  ListWorkersResponse,
  OperationState,
  SizeClassQueueName,
  TerminateWorkersRequest,
} from '../src/gen/pkg/proto/buildqueuestate/buildqueuestate.ts';

/** Encoding, decoding and defaults of one message type. */
interface MessageType<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
  fromPartial(partial: object): T;
}

/** A message as Buildbarn's code writes it, and what it says. */
interface Golden {
  readonly hex: string;
  readonly message: object;
  readonly hasOneof?: boolean;
}

const QUEUE = SizeClassQueueName.fromPartial({
  platformQueueName: {
    instanceNamePrefix: 'a/b',
    platform: { properties: [{ name: 'OSFamily', value: 'linux' }] },
  },
  sizeClass: 3,
});
const ID = {
  typeUrl: 'type.googleapis.com/build.bazel.remote.execution.v2.RequestMetadata',
  value: RequestMetadata.encode(RequestMetadata.fromPartial({ toolInvocationId: 'i' })).finish(),
};
const INVOCATION = InvocationName.fromPartial({ sizeClassQueueName: QUEUE, ids: [ID] });
const WORKER = { thread: '0' };
const PAGE = { startIndex: 1, totalEntries: 2 };

function operation(stage: OperationState['stage']): OperationState {
  return {
    name: 'o',
    invocationName: INVOCATION,
    queuedTimestamp: { seconds: 1000n, nanos: 6 },
    // SHA-256 of nothing, with a size that is not.
    actionDigest: { hash: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', sizeBytes: 7n },
    timeout: { seconds: 1001n, nanos: 0 },
    stage,
    targetId: '//t',
    priority: -4,
    instanceNameSuffix: 's',
    expectedDuration: { seconds: 2n, nanos: 5 },
    digestFunction: DigestFunction_Value.SHA256,
  };
}

/**
 * Bytes that Buildbarn's own generated code wrote. Its schema cannot be fetched by `scripts/check-wire`, so these are
 * what guards our transcription of it.
 */
describe('BuildQueueState on the wire', () => {
  const pool = DescriptorPool.builtIn();
  const seen = new Set<string>();

  function check<T>(
    name: string,
    type: MessageType<T>,
    what: string,
    { hex, message, hasOneof = false }: Golden,
  ): void {
    seen.add(name);
    it(`is Buildbarn's for ${what}`, () => {
      assert.ok(pool.message(`buildbarn.buildqueuestate.${name}`));
      // Not a Buffer: the decoder's views are of the same kind.
      const bytes = new Uint8Array(Buffer.from(hex, 'hex'));
      const whole = type.fromPartial(message);
      assert.deepEqual(type.decode(bytes), whole);
      const ours = type.encode(whole).finish();
      assert.deepEqual(type.decode(ours), whole);
      // Go writes a oneof behind all other fields: the same bytes, then, in another order.
      if (hasOneof) assert.deepEqual(ours.toSorted(), bytes.toSorted());
      else assert.equal(Buffer.from(ours).toString('hex'), hex);
    });
  }

  check('OperationState', OperationState, 'a queued operation', {
    hex: [
      '0a016f126c0a1e0a1a0a03612f6212130a110a084f5346616d696c7912056c696e75781003124a0a43747970652e676f',
      '6f676c65617069732e636f6d2f6275696c642e62617a656c2e72656d6f74652e657865637574696f6e2e76322e526571',
      '756573744d6574616461746112031a0169220508e80710062a440a406533623063343432393866633163313439616662',
      '663463383939366662393234323761653431653436343962393334636134393539393162373835326238353510073a03',
      '08e9075a032f2f7460fcffffffffffffffff016a017372040802100578014200',
    ].join(''),
    message: operation({ $case: 'queued', value: {} }),
    hasOneof: true,
  });
  check('OperationState', OperationState, 'an operation that executes', {
    hex: [
      '0a016f126c0a1e0a1a0a03612f6212130a110a084f5346616d696c7912056c696e75781003124a0a43747970652e676f',
      '6f676c65617069732e636f6d2f6275696c642e62617a656c2e72656d6f74652e657865637574696f6e2e76322e526571',
      '756573744d6574616461746112031a0169220508e80710062a440a406533623063343432393866633163313439616662',
      '663463383939366662393234323761653431653436343962393334636134393539393162373835326238353510073a03',
      '08e9075a032f2f7460fcffffffffffffffff016a017372040802100578014a00',
    ].join(''),
    message: operation({ $case: 'executing', value: {} }),
    hasOneof: true,
  });
  check('GetOperationRequest', GetOperationRequest, 'a question for an operation', {
    hex: '0a016f',
    message: { operationName: 'o' },
  });
  check('GetOperationResponse', GetOperationResponse, 'a completed operation', {
    hex: [
      '0ae3010a016f126c0a1e0a1a0a03612f6212130a110a084f5346616d696c7912056c696e75781003124a0a4374797065',
      '2e676f6f676c65617069732e636f6d2f6275696c642e62617a656c2e72656d6f74652e657865637574696f6e2e76322e',
      '526571756573744d6574616461746112031a0169220508e80710062a440a406533623063343432393866633163313439',
      '616662663463383939366662393234323761653431653436343962393334636134393539393162373835326238353510',
      '073a0308e9075a032f2f7460fcffffffffffffffff016a0173720408021005780152032a016d',
    ].join(''),
    message: { operation: operation({ $case: 'completed', value: ExecuteResponse.fromPartial({ message: 'm' }) }) },
    hasOneof: true,
  });
  check('ListOperationsRequest', ListOperationsRequest, 'a question for operations', {
    hex: [
      '080512030a016f1a4a0a43747970652e676f6f676c65617069732e636f6d2f6275696c642e62617a656c2e72656d6f74',
      '652e657865637574696f6e2e76322e526571756573744d6574616461746112031a01692003',
    ].join(''),
    message: {
      pageSize: 5,
      startAfter: { operationName: 'o' },
      filterInvocationId: ID,
      filterStage: ExecutionStage_Value.EXECUTING,
    },
  });
  check('ListOperationsResponse', ListOperationsResponse, 'a page of operations', {
    hex: '0a030a016f120408011002',
    message: { operations: [{ name: 'o' }], paginationInfo: PAGE },
  });
  check('KillOperationsRequest', KillOperationsRequest, 'the end of one operation', {
    hex: '0a030a016f1205080e12016d',
    message: { filter: { type: { $case: 'operationName', value: 'o' } }, status: { code: 14, message: 'm' } },
  });
  check('KillOperationsRequest', KillOperationsRequest, 'the end of all operations of a queue', {
    hex: '0a20121e0a1a0a03612f6212130a110a084f5346616d696c7912056c696e75781003',
    message: { filter: { type: { $case: 'sizeClassQueueWithoutWorkers', value: QUEUE } } },
  });
  check('ListPlatformQueuesResponse', ListPlatformQueuesResponse, 'queues', {
    hex: [
      '0a3c0a1a0a03612f6212130a110a084f5346616d696c7912056c696e7578121e080312020809280b380c4a1212040801',
      '1002200328043005380640074808',
    ].join(''),
    message: {
      platformQueues: [
        {
          name: QUEUE.platformQueueName,
          sizeClassQueues: [
            {
              sizeClass: 3,
              timeout: { seconds: 9n },
              workersCount: 11,
              drainsCount: 12,
              rootInvocation: {
                queuedOperationsCount: { direct: 1, indirect: 2 },
                executingWorkersCount: 3,
                idleWorkersCount: 4,
                idleSynchronizingWorkersCount: 5,
                childrenCount: 6,
                activeChildrenCount: 7,
                queuedChildrenCount: 8,
              },
            },
          ],
        },
      ],
    },
  });
  check('ListInvocationChildrenRequest', ListInvocationChildrenRequest, 'a question for invocations', {
    hex: [
      '0a6c0a1e0a1a0a03612f6212130a110a084f5346616d696c7912056c696e75781003124a0a43747970652e676f6f676c',
      '65617069732e636f6d2f6275696c642e62617a656c2e72656d6f74652e657865637574696f6e2e76322e526571756573',
      '744d6574616461746112031a01691002',
    ].join(''),
    message: { invocationName: INVOCATION, filter: ListInvocationChildrenRequest_Filter.QUEUED },
  });
  check('ListInvocationChildrenResponse', ListInvocationChildrenResponse, 'invocations', {
    hex: [
      '0a500a4a0a43747970652e676f6f676c65617069732e636f6d2f6275696c642e62617a656c2e72656d6f74652e657865',
      '637574696f6e2e76322e526571756573744d6574616461746112031a016912023806',
    ].join(''),
    message: { children: [{ id: ID, state: { childrenCount: 6 } }] },
  });
  check('ListQueuedOperationsRequest', ListQueuedOperationsRequest, 'a question for queued operations', {
    hex: [
      '0a6c0a1e0a1a0a03612f6212130a110a084f5346616d696c7912056c696e75781003124a0a43747970652e676f6f676c',
      '65617069732e636f6d2f6275696c642e62617a656c2e72656d6f74652e657865637574696f6e2e76322e526571756573',
      '744d6574616461746112031a01691805221808fcffffffffffffffff01120508e80710061a0408021005',
    ].join(''),
    message: {
      invocationName: INVOCATION,
      pageSize: 5,
      startAfter: {
        priority: -4,
        queuedTimestamp: { seconds: 1000n, nanos: 6 },
        expectedDuration: { seconds: 2n, nanos: 5 },
      },
    },
  });
  check('ListQueuedOperationsResponse', ListQueuedOperationsResponse, 'a page of queued operations', {
    hex: '0a030a016f120408011002',
    message: { queuedOperations: [{ name: 'o' }], paginationInfo: PAGE },
  });
  check('ListWorkersRequest', ListWorkersRequest, 'a question for workers of a queue', {
    hex: [
      '0a200a1e0a1a0a03612f6212130a110a084f5346616d696c7912056c696e757810031805220d0a0b0a06746872656164',
      '120130',
    ].join(''),
    message: { filter: { type: { $case: 'all', value: QUEUE } }, pageSize: 5, startAfter: { workerId: WORKER } },
  });
  check('ListWorkersRequest', ListWorkersRequest, 'a question for busy workers', {
    hex: [
      '0a6e126c0a1e0a1a0a03612f6212130a110a084f5346616d696c7912056c696e75781003124a0a43747970652e676f6f',
      '676c65617069732e636f6d2f6275696c642e62617a656c2e72656d6f74652e657865637574696f6e2e76322e52657175',
      '6573744d6574616461746112031a0169',
    ].join(''),
    message: { filter: { type: { $case: 'executing', value: INVOCATION } } },
  });
  check('ListWorkersRequest', ListWorkersRequest, 'a question for idle workers', {
    hex: [
      '0a6e1a6c0a1e0a1a0a03612f6212130a110a084f5346616d696c7912056c696e75781003124a0a43747970652e676f6f',
      '676c65617069732e636f6d2f6275696c642e62617a656c2e72656d6f74652e657865637574696f6e2e76322e52657175',
      '6573744d6574616461746112031a0169',
    ].join(''),
    message: { filter: { type: { $case: 'idleSynchronizing', value: INVOCATION } } },
  });
  check('ListWorkersResponse', ListWorkersResponse, 'a page of workers', {
    hex: '0a180a0b0a06746872656164120130120208091a030a016f2001120408011002',
    message: {
      workers: [{ id: WORKER, timeout: { seconds: 9n }, currentOperation: { name: 'o' }, drained: true }],
      paginationInfo: PAGE,
    },
  });
  check('TerminateWorkersRequest', TerminateWorkersRequest, 'a termination', {
    hex: '0a0b0a06746872656164120130',
    message: { workerIdPattern: WORKER },
  });
  check('AddOrRemoveDrainRequest', AddOrRemoveDrainRequest, 'a drain', {
    hex: '0a1e0a1a0a03612f6212130a110a084f5346616d696c7912056c696e75781003120b0a06746872656164120130',
    message: { sizeClassQueueName: QUEUE, workerIdPattern: WORKER },
  });
  check('ListDrainsRequest', ListDrainsRequest, 'a question for drains', {
    hex: '0a1e0a1a0a03612f6212130a110a084f5346616d696c7912056c696e75781003',
    message: { sizeClassQueueName: QUEUE },
  });
  check('ListDrainsResponse', ListDrainsResponse, 'drains', {
    hex: '0a110a0b0a0674687265616412013012020809',
    message: { drains: [{ workerIdPattern: WORKER, createdTimestamp: { seconds: 9n } }] },
  });

  it('has bytes of every request and response', () => {
    const { methods = [] } = pool.service('buildbarn.buildqueuestate.BuildQueueState') ?? {};
    assert.equal(methods.length, 11);
    const types = methods.flatMap(({ requestType, responseType }) => [requestType, responseType]);
    const unseen = types.filter((type) => type !== 'google.protobuf.Empty' && !seen.has(type.split('.').at(-1) ?? ''));
    assert.deepEqual(unseen, []);
  });
});
