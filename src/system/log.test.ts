import assert from 'node:assert/strict';
import { ReapiError } from '../errors.ts';
import { createLog, type LogLevel, NO_LOG } from './log.ts';

function logTo(level: LogLevel) {
  const lines: string[] = [];
  return { lines, log: createLog(level, { write: (line) => lines.push(line) }) };
}

describe('createLog', () => {
  it('writes one JSON object a line, with level and time as text', () => {
    const { log, lines } = logTo('info');
    log.info({ path: '/a.B/C' }, 'two\nlines');
    assert.equal(lines.length, 1);
    assert.equal((lines[0] ?? '').search('\n'), (lines[0] ?? '').length - 1);
    const line = JSON.parse(lines[0] ?? '');
    assert.equal(line.level, 'info');
    assert.equal(line.path, '/a.B/C');
    assert.equal(line.msg, 'two\nlines');
    assert.match(line.time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  });

  it('leaves out lines below its level', () => {
    const { log, lines } = logTo('warn');
    log.info('quiet');
    log.warn('loud');
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).msg),
      ['loud'],
    );
  });

  it('writes nothing when silent', () => {
    const { log, lines } = logTo('silent');
    log.fatal('nobody hears');
    assert.deepEqual(lines, []);
    assert.equal(NO_LOG.isLevelEnabled('fatal'), false);
  });

  it('hides authorization, at the top and one level down', () => {
    const { log, lines } = logTo('info');
    log.info({ authorization: 'Bearer secret', headers: { authorization: 'Bearer secret' } }, 'call');
    assert.equal(lines.length, 1);
    assert.doesNotMatch(lines.join(), /secret/);
  });

  it('shows an error with its kind and the messages of its causes', () => {
    const { log, lines } = logTo('info');
    log.error({ err: new ReapiError('internal', 'outer', { cause: new Error('inner') }) }, 'call failed');
    const { err } = JSON.parse(lines[0] ?? '');
    assert.equal(err.kind, 'internal');
    assert.match(err.stack, /outer[\s\S]*inner/);
  });
});
