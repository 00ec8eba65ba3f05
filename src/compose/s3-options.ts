import { readFileSync } from 'node:fs';
import type { S3Credentials, S3Options } from '../cas/s3/s3-options.ts';
import { type Config, type Environment, readSecret } from '../config/load.ts';
import type { SecretSource } from '../config/s3-connection-schema.ts';
import { systemCode } from '../errors.ts';
import { UsageError } from './operator/usage-error.ts';

/**
 * Where the bucket of a configuration is and how to talk to it; undefined if it has none. Reads the files and variables that the
 * configuration refers to.
 * @param environment where secrets may be; default: the process's.
 * @throws UsageError naming the key whose file or variable cannot be read.
 */
export function s3OptionsOf({ s3 }: Pick<Config, 's3'>, environment?: Environment): S3Options | undefined {
  if (s3.bucket === '') return undefined;
  const { bucket, prefix, region, encryption, maxConcurrentRequests, maxAttempts } = s3;
  const endpoint = s3.endpoint === '' ? undefined : s3.endpoint;
  return {
    bucket,
    prefix,
    region,
    endpoint,
    pathStyle: s3.pathStyle === 'always' || (s3.pathStyle === 'automatic' && endpoint !== undefined),
    credentials: credentialsOf(s3.credentials, environment),
    encryption: encryption.kind === 'kms' ? kmsOf(encryption.keyId) : { kind: encryption.kind },
    storageClass: s3.storageClass === '' ? undefined : s3.storageClass,
    proxy: s3.proxy === '' ? undefined : s3.proxy,
    certificateAuthorities: authoritiesOf(s3.certificateAuthoritiesFile),
    maxConcurrentRequests,
    requestTimeoutMs: s3.requestTimeoutSeconds * 1000,
    maxAttempts,
  };
}

function kmsOf(keyId: string | undefined) {
  return { kind: 'kms', ...(keyId !== undefined && { keyId }) } as const;
}

type Credentials = Config['s3']['credentials'];

/** Undefined if the chain of the SDK is to find them. */
function credentialsOf(credentials: Credentials, environment: Environment | undefined): S3Credentials | undefined {
  const read = (key: keyof Credentials, secret: string | SecretSource): string => {
    if (typeof secret === 'string') return secret;
    return asUsageError(`s3.credentials.${key}`, () => readSecret(secret, environment));
  };
  const accessKeyId = read('accessKeyId', credentials.accessKeyId);
  if (accessKeyId === '') return undefined;
  const secretAccessKey = read('secretAccessKey', credentials.secretAccessKey);
  const sessionToken = read('sessionToken', credentials.sessionToken);
  return { accessKeyId, secretAccessKey, ...(sessionToken !== '' && { sessionToken }) };
}

function authoritiesOf(file: string): string | undefined {
  if (file === '') return undefined;
  return asUsageError('s3.certificateAuthoritiesFile', () => {
    const text = readPem(file);
    if (!text.includes('-----BEGIN CERTIFICATE-----')) throw new Error(`the file "${file}" holds no PEM certificate`);
    return text;
  });
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(`the file "${file}" cannot be read (${systemCode(error) ?? 'unknown error'})`, { cause: error });
  }
}

/** What cannot be read is a mistake in the configuration, under the key that asked for it. */
function asUsageError<T>(key: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new UsageError(`the configuration is wrong:\n  ${key}: ${message}`, { cause: error });
  }
}
