import assert from 'node:assert/strict';
import { operationOf, type S3Operation } from './faulty-s3-operation.ts';

const OPERATIONS: readonly (readonly [string, S3Operation])[] = [
  ['PUT /bucket/a/key', 'PutObject'],
  ['PUT /bucket/key?x-id=PutObject', 'PutObject'],
  ['PUT /bucket/key?partNumber=1&uploadId=u&x-id=UploadPart', 'UploadPart'],
  ['POST /bucket/key?uploads', 'CreateMultipartUpload'],
  ['POST /bucket/key?uploads=', 'CreateMultipartUpload'],
  ['POST /bucket/key?uploadId=u', 'CompleteMultipartUpload'],
  ['DELETE /bucket/key?uploadId=u&x-id=AbortMultipartUpload', 'AbortMultipartUpload'],
  ['DELETE /bucket/key', 'DeleteObject'],
  ['POST /bucket?delete=', 'DeleteObjects'],
  ['POST /bucket/?delete', 'DeleteObjects'],
  ['GET /bucket/key?x-id=GetObject', 'GetObject'],
  ['GET /bucket/key?versionId=3&response-content-type=text', 'GetObject'],
  ['GET /bucket/key?uploadId=u', 'ListParts'],
  ['GET /bucket?list-type=2&prefix=packs%2F&start-after=x', 'ListObjectsV2'],
  ['GET /bucket/?uploads&max-uploads=7', 'ListMultipartUploads'],
  ['HEAD /bucket/key', 'HeadObject'],
  ['HEAD /bucket', 'HeadBucket'],
  ['PUT /bucket/', 'CreateBucket'],
  ['PUT /bucket?lifecycle', 'Other'],
  ['GET /bucket?location', 'Other'],
  ['GET /bucket/key?tagging', 'Other'],
  ['GET /', 'Other'],
];

describe('operationOf', () => {
  for (const [line, operation] of OPERATIONS) {
    it(`takes ${line} for ${operation}`, () => {
      const [method = '', url = ''] = line.split(' ');
      const [path = '', search] = url.split('?');
      assert.equal(operationOf(method, path, new URLSearchParams(search), false), operation);
    });
  }

  it('tells copies from uploads', () => {
    assert.equal(operationOf('PUT', '/bucket/key', new URLSearchParams(), true), 'CopyObject');
    assert.equal(
      operationOf('PUT', '/bucket/key', new URLSearchParams('partNumber=1&uploadId=u'), true),
      'UploadPartCopy',
    );
    assert.equal(operationOf('GET', '/bucket/key', new URLSearchParams(), true), 'GetObject');
  });
});
