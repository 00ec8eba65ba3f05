import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decodeMessage } from '../src/descriptors/decode-message.ts';
import { DescriptorPool } from '../src/descriptors/descriptor-pool.ts';
import { arbitraryMessage } from './support/message-arbitrary.ts';
import { generatedCodecs, TsProtoForm } from './support/ts-proto-messages.ts';
import { writeMessage } from './support/write-message.ts';

const pool = DescriptorPool.builtIn();
const codecs = await generatedCodecs(pool);
const form = new TsProtoForm(pool);
const schemas = pool.messages().filter((schema) => !schema.isMapEntry);

/**
 * Two code bases, one wire: what ts-proto writes google-protobuf reads, and the other way round, for every message
 * we have a schema of. Fields that one drops, renumbers or takes for another type show up here.
 */
describe('ts-proto and google-protobuf', () => {
  it('are compared on every message of the schemas', () => {
    assert.ok(schemas.length > 100);
    assert.deepEqual(
      [...codecs.keys()],
      schemas.map((schema) => schema.fullName),
    );
  });

  for (const schema of schemas) {
    it(`law: agree on ${schema.fullName}`, () => {
      const codec = codecs.get(schema.fullName);
      assert.ok(codec);
      fc.assert(
        fc.property(arbitraryMessage(pool, schema), (message) => {
          const byTsProto = codec.encode(form.from(schema, message)).finish();
          assert.deepEqual(decodeMessage(pool, schema.fullName, byTsProto), message);

          const byGoogle = writeMessage(pool, schema, message);
          assert.deepEqual(form.to(schema, codec.decode(byGoogle)), message);

          // In the order of field numbers, without defaults: digests of messages depend on it (R-DIG-07).
          assert.deepEqual(Buffer.from(byTsProto), Buffer.from(byGoogle));
        }),
      );
    });
  }
});
