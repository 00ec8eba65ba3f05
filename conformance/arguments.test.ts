import assert from 'node:assert/strict';
import { parseRunArguments } from './arguments.ts';

describe('parseRunArguments', () => {
  it('needs an endpoint and nothing else', () => {
    assert.deepEqual(parseRunArguments(['--endpoint', 'h:1']), {
      endpoint: 'h:1',
      instance: undefined,
      profile: undefined,
      peer: undefined,
      format: 'text',
      only: '',
    });
  });
  it('tells an empty instance name from none', () => {
    assert.equal(parseRunArguments(['--endpoint', 'h:1', '--instance', '']).instance, '');
  });
  it('refuses to start without an endpoint', () =>
    assert.throws(() => parseRunArguments([]), /--endpoint is required/));
  it('refuses options it does not know', () => assert.throws(() => parseRunArguments(['--endpont', 'h:1']), /endpont/));
  it('refuses formats it does not know', () => {
    assert.throws(() => parseRunArguments(['--endpoint', 'h:1', '--format', 'xml']), /must be text or json, not xml/);
  });
});
