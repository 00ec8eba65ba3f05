import assert from 'node:assert/strict';
import { signedAnew, signedAtMs } from './faulty-s3-signature.ts';

const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const SECRET = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY';
const AT_MS = Date.UTC(2013, 4, 24);

/** Requests and their signatures for 2013-05-24 (S3 API reference, "Authorization header: transferring payload in a single chunk"). */
const EXAMPLES = [
  ['/test.txt', 'range', 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41'],
  ['/?lifecycle', undefined, 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'],
  ['/?prefix=J&max-keys=2', undefined, '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7'],
] as const;

function signedLater(url: string, further: string | undefined) {
  const headers = {
    host: 'examplebucket.s3.amazonaws.com',
    ...(further === undefined ? {} : { [further]: 'bytes=0-9' }),
    'x-amz-content-sha256': EMPTY,
    'x-amz-date': '20130525T003000Z',
  };
  const names = Object.keys(headers).join(';');
  const authorization = `AWS4-HMAC-SHA256 Credential=AKIA/20130525/us-east-1/s3/aws4_request, SignedHeaders=${names}, Signature=00`;
  const all = { ...headers, authorization };
  return { method: 'GET', url, headers: all, rawHeaders: Object.entries(all).flat() };
}

describe('signedAnew', () => {
  for (const [url, further, signature] of EXAMPLES) {
    it(`signs GET ${url} as S3 documents it`, () => {
      const headers = signedAnew(signedLater(url, further), SECRET, AT_MS);
      assert.equal(headers[headers.indexOf('x-amz-date') + 1], '20130524T000000Z');
      const authorization = headers[headers.indexOf('authorization') + 1] ?? '';
      assert.match(authorization, /^AWS4-HMAC-SHA256 Credential=AKIA\/20130524\/us-east-1\/s3\/aws4_request, Signed/);
      assert.equal(/Signature=(\w+)$/.exec(authorization)?.[1], signature);
    });
  }

  it('leaves a request alone that is not signed in its headers', () => {
    const rawHeaders = ['Host', 'somewhere'];
    assert.equal(signedAnew({ method: 'GET', url: '/', headers: {}, rawHeaders }, SECRET, AT_MS), rawHeaders);
  });
});

describe('signedAtMs', () => {
  it('reads when a request was signed', () => {
    assert.equal(signedAtMs({ 'x-amz-date': '20130524T010203Z' }), Date.UTC(2013, 4, 24, 1, 2, 3));
    assert.equal(signedAtMs({ 'x-amz-date': 'yesterday' }), undefined);
    assert.equal(signedAtMs({}), undefined);
  });
});
