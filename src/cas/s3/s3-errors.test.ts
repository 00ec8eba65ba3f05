import assert from 'node:assert/strict';
import { BugError, type ErrorKind, ReapiError } from '../../errors.ts';
import { failureOf, lacksBulkDelete, partialError, timeoutError } from './s3-errors.ts';

const CALL = { bucket: 'our-bucket', doing: 'reading an object' };

/** As the SDK makes it of an answer. */
function answered(name: string, httpStatusCode: number, more: object = {}): Error {
  const secrets = { message: 'key AKIA of account 1234 and the string to sign' };
  return Object.assign(new Error(secrets.message), { name, $metadata: { httpStatusCode, requestId: 'R1', ...more } });
}

/** As Node makes it of a connection. */
function broken(code: string): Error {
  return Object.assign(new Error(`connect ${code}`), { code });
}

describe('failureOf', () => {
  const CASES: readonly [error: Error, kind: ErrorKind, isTransient: boolean, text: RegExp][] = [
    [answered('NoSuchKey', 404), 'not-found', false, /no such object/],
    [answered('InvalidRange', 416), 'data-loss', false, /ends before/],
    [answered('Unknown', 416), 'data-loss', false, /ends before/],
    [answered('XMinioStorageFull', 507), 'quota-exceeded', false, /no room left/],
    [answered('QuotaExceeded', 403), 'quota-exceeded', false, /no room left/],
    [answered('NoSuchBucket', 404), 'unavailable', false, /"our-bucket" does not exist/],
    [answered('InvalidAccessKeyId', 403), 'unavailable', false, /credentials .* are refused/],
    [answered('SignatureDoesNotMatch', 403), 'unavailable', false, /credentials .* are refused/],
    [answered('ExpiredToken', 400), 'unavailable', false, /credentials .* are refused/],
    [answered('AccessDenied', 403), 'unavailable', false, /may not do this .* policy/],
    [answered('Forbidden', 403), 'unavailable', false, /may not do this/],
    [answered('CredentialsProviderError', 400), 'unavailable', false, /no credentials were found/],
    [answered('RequestTimeTooSkewed', 403), 'unavailable', false, /clock of this machine differs/],
    [answered('RequestTimeTooSkewed', 403, { clockSkewCorrected: true }), 'unavailable', true, /clock/],
    [answered('PermanentRedirect', 301), 'unavailable', false, /another region/],
    [answered('AuthorizationHeaderMalformed', 400), 'unavailable', false, /another region/],
    [answered('SlowDown', 503), 'unavailable', true, /asks to slow down/],
    [answered('Unknown', 503), 'unavailable', true, /asks to slow down/],
    [answered('InternalError', 500), 'unavailable', true, /server of bucket "our-bucket" failed/],
    [answered('InternalError', 200), 'unavailable', true, /server of bucket "our-bucket" failed/],
    [answered('BadDigest', 400), 'unavailable', true, /failed/],
    [answered('Unknown', 502), 'unavailable', true, /failed/],
    [answered('NoSuchUpload', 404), 'unavailable', false, /dropped an upload/],
    [answered('InvalidObjectState', 403), 'unavailable', false, /archived/],
    [answered('KMS.DisabledException', 400), 'unavailable', false, /encryption key/],
    [answered('NotImplemented', 501), 'unavailable', false, /does not offer/],
    [answered('NotFound', 404), 'unavailable', false, /is it an S3 server/],
    [answered('MalformedXML', 400), 'unavailable', false, /refused a request/],
    [answered('Unknown', 599), 'unavailable', true, /talking to .* failed/],
    [broken('ECONNREFUSED'), 'unavailable', true, /cannot be reached/],
    [Object.assign(broken('ECONNRESET'), { name: 'TimeoutError' }), 'unavailable', true, /reached .*ECONNRESET/],
    [broken('EAI_AGAIN'), 'unavailable', true, /cannot be reached/],
    [timeoutError(5_000), 'unavailable', true, /did not answer in time/],
    [broken('SELF_SIGNED_CERT_IN_CHAIN'), 'unavailable', false, /certificate .* is not trusted/],
    [broken('ERR_PROXY_TUNNEL'), 'unavailable', true, /proxy/],
    [broken('ESOMETHING'), 'unavailable', true, /talking to .* failed \(reading an object, ESOMETHING\)/],
    [new Error('aborted'), 'unavailable', true, /talking to/],
    [new SyntaxError('not XML'), 'unavailable', true, /talking to .*SyntaxError/],
  ];
  for (const [error, kind, isTransient, text] of CASES) {
    const { httpStatusCode: status = '' } = '$metadata' in error ? Object(error.$metadata) : {};
    it(`makes ${isTransient ? 'a passing' : 'a lasting'} ${kind} of ${error.name} ${'code' in error ? error.code : status}`, () => {
      const failure = failureOf(error, CALL);
      assert.ok(failure.error instanceof ReapiError);
      assert.equal(failure.error.kind, kind);
      assert.equal(failure.isTransient, isTransient);
      assert.match(failure.error.message, text);
      assert.equal(failure.error.cause, error);
    });
  }

  it('tells when to come back whenever coming back makes sense', () => {
    for (const [error, kind] of CASES) {
      const failure = failureOf(error, CALL).error;
      const waits = failure instanceof ReapiError && (failure.facts.retryAfterMs ?? 0) > 0;
      assert.equal(waits, kind !== 'not-found' && kind !== 'data-loss', error.name);
    }
  });

  it('names the operation, the code, the status and the request, and nothing of what the server said', () => {
    const { error, code } = failureOf(answered('SlowDown', 503), CALL);
    assert.equal(
      error.message,
      'S3: the server of bucket "our-bucket" asks to slow down (reading an object, SlowDown, HTTP 503, request R1)',
    );
    assert.equal(code, 'SlowDown');
  });

  it('knows who asks for fewer requests', () => {
    assert.equal(failureOf(answered('SlowDown', 503), CALL).isThrottling, true);
    assert.equal(failureOf(answered('InternalError', 500), CALL).isThrottling, false);
  });

  it('leaves our own errors as they are', () => {
    for (const error of [new ReapiError('too-large', 'too large'), new BugError('a bug')]) {
      const failure = failureOf(error, CALL);
      assert.equal(failure.error, error);
      assert.equal(failure.isTransient, false);
    }
  });

  it('takes whatever is thrown', () => {
    for (const thrown of [undefined, null, 'text', 7, {}]) {
      assert.equal(failureOf(thrown, CALL).code, 'Unknown');
    }
  });
});

describe('partialError', () => {
  it('means what the code of the object means', () => {
    assert.equal(failureOf(partialError('AccessDenied'), CALL).isTransient, false);
    assert.equal(failureOf(partialError('SlowDown'), CALL).isThrottling, true);
    assert.equal(failureOf(partialError(undefined), CALL).code, 'InternalError');
  });
});

describe('lacksBulkDelete', () => {
  it('tells a server that cannot from one that failed', () => {
    assert.equal(lacksBulkDelete(answered('NotImplemented', 501)), true);
    assert.equal(lacksBulkDelete(answered('MissingContentMD5', 400)), true);
    assert.equal(lacksBulkDelete(answered('InternalError', 500)), false);
    assert.equal(lacksBulkDelete('NotImplemented'), false);
  });
});
