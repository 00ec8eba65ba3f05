import type { ServerSideEncryption, StorageClass } from '@aws-sdk/client-s3';
import type { S3Options } from './s3-options.ts';

/** What names an object in requests. */
export function addressOf({ bucket, prefix }: S3Options, key: string) {
  return { Bucket: bucket, Key: `${prefix}${key}` };
}

/** What names an object that is copied: stands in a header, where only some characters may. */
export function sourceOf({ bucket, prefix }: S3Options, key: string): string {
  return [bucket, ...`${prefix}${key}`.split('/')].map(encodeURIComponent).join('/');
}

/** What is said of every new object. Copies do not inherit it from their source. */
export function storageOf({ encryption, storageClass }: S3Options) {
  // The SDK's type lists the classes it knows; servers other than AWS have some of their own.
  const kept = storageClass === undefined ? {} : { StorageClass: storageClass as StorageClass };
  return { ...kept, ...encryptionOf(encryption) };
}

function encryptionOf(encryption: S3Options['encryption']): {
  ServerSideEncryption?: ServerSideEncryption;
  SSEKMSKeyId?: string;
} {
  switch (encryption.kind) {
    case 'bucket-default':
      return {};
    case 's3':
      return { ServerSideEncryption: 'AES256' };
    case 'kms': {
      const { keyId } = encryption;
      return { ServerSideEncryption: 'aws:kms', ...(keyId === undefined ? {} : { SSEKMSKeyId: keyId }) };
    }
  }
}
