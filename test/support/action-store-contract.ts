import assert from 'node:assert/strict';
import { type ActionStore, resultFromBytes, resultFromMessage } from '../../src/action-cache/action-store.ts';
import type { StoreMiss } from '../../src/action-cache/misses/miss.ts';
import type { ActionKey } from '../../src/digest/action-key.ts';
import { digestOf } from '../../src/digest/hasher.ts';
import { parseInstanceName } from '../../src/digest/instance-name.ts';
import { ActionResult } from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { noAbort } from './expectations.ts';

/** The laws of `ActionStore`. Call inside a `describe`; `open` gives an empty store, anew for each test. */
export function actionStoreContract(open: () => ActionStore): void {
  const action = digestOf('sha256', Buffer.from('action'));
  const key: ActionKey = { instance: parseInstanceName('main'), action };
  const result = (exitCode: number) => resultFromMessage(ActionResult.fromPartial({ exitCode }));

  it('answers undefined for what was never put', async () => {
    assert.equal(await open().get(key, noAbort()), undefined);
  });

  it('gives a result back byte for byte, unknown fields included', async () => {
    const store = open();
    const bytes = Buffer.concat([result(3).bytes, Buffer.of(0xa0, 0x06, 0x07)]);
    await store.put(key, resultFromBytes(bytes), noAbort());
    const got = await store.get(key, noAbort());
    assert.deepEqual(Buffer.from(got?.bytes ?? []), bytes);
    assert.equal(got?.message.exitCode, 3);
  });

  it('keeps the last of several results (R-AC-16)', async () => {
    const store = open();
    for (const exitCode of [1, 2]) await store.put(key, result(exitCode), noAbort());
    assert.equal((await store.get(key, noAbort()))?.message.exitCode, 2);
  });

  it('keeps instances and action sizes apart (R-AC-15, R-DIG-02)', async () => {
    const store = open();
    await store.put(key, result(1), noAbort());
    const others = [
      { ...key, instance: parseInstanceName('') },
      { ...key, instance: parseInstanceName('main/x') },
      { ...key, action: { ...action, sizeBytes: action.sizeBytes + 1 } },
    ];
    for (const other of others) assert.equal(await store.get(other, noAbort()), undefined);
  });

  it('gives every miss exactly one reason, and a hit none', async () => {
    const store = open();
    const misses: StoreMiss[] = [];
    await store.get(key, noAbort(), (miss) => misses.push(miss));
    assert.deepEqual(misses, [{ reason: 'absent' }]);
    await store.put(key, result(1), noAbort());
    await store.get(key, noAbort(), (miss) => misses.push(miss));
    assert.equal(misses.length, 1);
  });

  it('removes a result of one key until it is put again, and says whether there was one', async () => {
    const store = open();
    const other = { ...key, instance: parseInstanceName('') };
    assert.equal(await store.remove(key, noAbort()), false);
    for (const each of [key, other]) await store.put(each, result(1), noAbort());
    assert.equal(await store.remove(key, noAbort()), true);
    assert.equal(await store.get(key, noAbort()), undefined);
    assert.notEqual(await store.get(other, noAbort()), undefined);
    await store.put(key, result(2), noAbort());
    assert.equal((await store.get(key, noAbort()))?.message.exitCode, 2);
  });
}
