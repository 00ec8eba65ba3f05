import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ofKind } from '../../../test/support/expectations.ts';
import { digestKey, digestToWire } from '../../digest/digest.ts';
import { digestOf } from '../../digest/hasher.ts';
import { Directory, Tree } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { directoryEntries, treeParts } from './directory-entries.ts';

const FILE = digestOf('sha256', Buffer.from('file'));
const WIRE = digestToWire(FILE);

function directory(partial: object): Uint8Array {
  return Directory.encode(Directory.fromPartial(partial)).finish();
}

describe('directoryEntries', () => {
  it('gives files, directories and symlinks by name', () => {
    const bytes = directory({
      files: [
        { name: 'z', digest: WIRE },
        { name: 'b', digest: WIRE, isExecutable: true },
      ],
      directories: [{ name: 'c', digest: WIRE }],
      symlinks: [{ name: 'a', target: '../x' }],
    });
    assert.deepEqual(directoryEntries('sha256', bytes), [
      { type: 'symlink', name: 'a', target: '../x' },
      { type: 'file', name: 'b', digest: FILE, isExecutable: true },
      { type: 'directory', name: 'c', digest: FILE },
      { type: 'file', name: 'z', digest: FILE, isExecutable: false },
    ]);
  });

  it('passes over fields of newer schemas', () => {
    const bytes = Buffer.concat([directory({ symlinks: [{ name: 'a', target: 'b' }] }), Buffer.from([9 << 3, 1])]);
    assert.equal(directoryEntries('sha256', bytes).length, 1);
  });

  it('gives nothing of the empty blob', () => assert.deepEqual(directoryEntries('sha256', new Uint8Array()), []));

  for (const [what, bytes] of [
    ['a script', Buffer.from('#!/bin/sh\necho hello\n')],
    ['text that parses as an unknown field', Buffer.from('8x')],
    ['a file without a digest', directory({ files: [{ name: 'a' }] })],
    ['a file without a name', directory({ files: [{ digest: WIRE }] })],
    ['a hash that is none', directory({ files: [{ name: 'a', digest: { hash: 'x', sizeBytes: 1n } }] })],
    ['a name with a slash', directory({ directories: [{ name: 'a/b', digest: WIRE }] })],
    ['a torn message', directory({ files: [{ name: 'a', digest: WIRE }] }).subarray(0, -1)],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(() => directoryEntries('sha256', bytes), ofKind('invalid-argument'));
    });
  }

  it('law: takes no Tree for a Directory', () => {
    const node = fc.record({ name: fc.constantFrom('a', 'b', FILE.hash), digest: fc.constant(WIRE) });
    const some = fc.record({ files: fc.array(node, { maxLength: 2 }), directories: fc.array(node, { maxLength: 2 }) });
    fc.assert(
      fc.property(some, fc.array(some, { maxLength: 2 }), (root, children) => {
        const tree = Tree.encode(Tree.fromPartial({ root, children })).finish();
        assert.throws(() => directoryEntries('sha256', tree), ofKind('invalid-argument'));
      }),
    );
  });
});

describe('treeParts', () => {
  it('gives the root, and the other directories by their digest, byte for byte', () => {
    // Field 9 is unknown: it is part of what the digest is made of.
    const child = Buffer.concat([directory({ files: [{ name: 'a', digest: WIRE }] }), Buffer.from([9 << 3, 1])]);
    const root = directory({ directories: [{ name: 'c', digest: digestToWire(digestOf('sha256', child)) }] });
    const tree = Buffer.concat([Buffer.from([0x0a, root.length]), root, Buffer.from([0x12, child.length]), child]);
    const parts = treeParts('sha256', tree);
    assert.deepEqual(Buffer.from(parts.root), Buffer.from(root));
    assert.deepEqual([...parts.children.keys()], [digestKey(digestOf('sha256', child))]);
  });

  it('refuses what is no Tree', () => {
    for (const bytes of [new Uint8Array(), Buffer.from('hello'), Buffer.from([0x12, 0])]) {
      assert.throws(() => treeParts('sha256', bytes), ofKind('invalid-argument'));
    }
  });
});
