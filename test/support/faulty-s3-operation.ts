/** What a request asks of S3, by the names of its API reference; `Other` is what the store has no use for. */
export type S3Operation =
  | 'AbortMultipartUpload'
  | 'CompleteMultipartUpload'
  | 'CopyObject'
  | 'CreateBucket'
  | 'CreateMultipartUpload'
  | 'DeleteObject'
  | 'DeleteObjects'
  | 'GetObject'
  | 'HeadBucket'
  | 'HeadObject'
  | 'ListMultipartUploads'
  | 'ListObjectsV2'
  | 'ListParts'
  | 'Other'
  | 'PutObject'
  | 'UploadPart'
  | 'UploadPartCopy';

/** Sub-resources that a request names in its query and that decide what it is. */
type Mark = 'delete' | 'list' | 'part' | 'upload' | 'uploads' | 'none' | 'unknown';

/** Method, whether a key is named, mark. Path style only: the first part of the path is the bucket. */
const OPERATIONS: Readonly<Record<string, S3Operation>> = {
  'DELETE key none': 'DeleteObject',
  'DELETE key upload': 'AbortMultipartUpload',
  'GET bucket list': 'ListObjectsV2',
  'GET bucket uploads': 'ListMultipartUploads',
  'GET key none': 'GetObject',
  'GET key upload': 'ListParts',
  'HEAD bucket none': 'HeadBucket',
  'HEAD key none': 'HeadObject',
  'POST bucket delete': 'DeleteObjects',
  'POST key upload': 'CompleteMultipartUpload',
  'POST key uploads': 'CreateMultipartUpload',
  'PUT bucket none': 'CreateBucket',
  'PUT key none': 'PutObject',
  'PUT key part': 'UploadPart',
};

/** Tells the operation of a request. @param isCopy whether it has an `x-amz-copy-source`. */
export function operationOf(method: string, path: string, query: URLSearchParams, isCopy: boolean): S3Operation {
  const isKey = /^\/[^/]+\/./.test(path);
  const operation = OPERATIONS[`${method} ${isKey ? 'key' : 'bucket'} ${markOf(query)}`] ?? 'Other';
  if (!isCopy) return operation;
  if (operation === 'PutObject') return 'CopyObject';
  return operation === 'UploadPart' ? 'UploadPartCopy' : operation;
}

function markOf(query: URLSearchParams): Mark {
  if (query.has('partNumber') && query.has('uploadId')) return 'part';
  if (query.has('uploadId')) return 'upload';
  if (query.has('uploads')) return 'uploads';
  if (query.has('delete')) return 'delete';
  if (query.get('list-type') === '2') return 'list';
  // `x-id` repeats the name of the operation; `response-…` and `versionId` change nothing that is counted here.
  const others = [...query.keys()].filter((name) => !/^(?:x-id|versionId|response-.*)$/.test(name));
  return others.length === 0 ? 'none' : 'unknown';
}
