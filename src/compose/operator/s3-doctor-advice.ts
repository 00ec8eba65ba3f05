import { failureOf } from '../../cas/s3/s3-errors.ts';
import { ReapiError } from '../../errors.ts';
import type { S3Place } from './s3-doctor-report.ts';

/** Where a first request got stuck. */
export type S3Obstacle = 'endpoint' | 'credentials' | 'bucket' | 'right';

/** What a failure is about and what helps. */
export interface S3Diagnosis {
  readonly obstacle: S3Obstacle;
  /** The message of the failure. */
  readonly finding: string;
  readonly advice: string;
}

interface Case {
  readonly obstacle: S3Obstacle;
  readonly codes: readonly string[];
  readonly advice: string;
}

const CASES: readonly Case[] = [
  {
    obstacle: 'endpoint',
    codes: ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'EPROTO', 'ERR_STREAM_PREMATURE_CLOSE', 'HPE_INVALID_CONSTANT'],
    advice:
      'Is the server running, and are host, port and scheme (http or https) of s3.endpoint, and s3.proxy if it is set, right?',
  },
  {
    obstacle: 'endpoint',
    codes: ['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL'],
    advice:
      'The host name is not known here. Check s3.endpoint and s3.region; a server that is not AWS may need s3.pathStyle: always.',
  },
  {
    obstacle: 'endpoint',
    codes: ['TimeoutError', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ERR_SOCKET_CONNECTION_TIMEOUT'],
    advice: 'Nothing answers: look at firewalls, security groups, VPC endpoint and s3.proxy.',
  },
  {
    obstacle: 'endpoint',
    codes: ['ERR_PROXY_TUNNEL', 'ERR_PROXY_INVALID_CONFIG'],
    advice: 'Check s3.proxy, and whether the proxy lets CONNECT through to the endpoint.',
  },
  {
    obstacle: 'endpoint',
    codes: [
      ...['SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      ...['UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'CERT_UNTRUSTED'],
    ],
    advice: 'Name the authority that signed the certificate in s3.certificateAuthoritiesFile.',
  },
  {
    obstacle: 'endpoint',
    codes: ['ERR_TLS_CERT_ALTNAME_INVALID'],
    advice: 'The certificate is for another name. Without path style it must cover BUCKET.HOST: s3.pathStyle: always.',
  },
  {
    obstacle: 'endpoint',
    codes: ['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID'],
    advice: 'Renew it, and check both clocks.',
  },
  {
    obstacle: 'endpoint',
    codes: ['PermanentRedirect', 'AuthorizationHeaderMalformed', 'IllegalLocationConstraintException'],
    advice: 'Set s3.region to the region of the bucket (aws s3api get-bucket-location).',
  },
  {
    obstacle: 'credentials',
    codes: ['CredentialsProviderError', 'ProviderError', 'TokenProviderError'],
    advice:
      'Nothing in the chain had any: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, give the machine a role, or set s3.credentials.',
  },
  {
    obstacle: 'credentials',
    codes: ['InvalidAccessKeyId'],
    advice: 'The server does not know this access key: mistyped, deleted, or of another account or server.',
  },
  {
    obstacle: 'credentials',
    codes: ['SignatureDoesNotMatch'],
    advice: 'The secret does not belong to the access key, or a proxy changed the request on its way.',
  },
  {
    obstacle: 'credentials',
    codes: ['ExpiredToken', 'ExpiredTokenException', 'InvalidToken', 'InvalidTokenId', 'TokenRefreshRequired'],
    advice:
      'Temporary credentials ran out, or the session token is of others: let a role provide them, so that they are renewed.',
  },
  {
    obstacle: 'credentials',
    codes: ['RequestTimeTooSkewed', 'RequestExpired', 'RequestInTheFuture'],
    advice: 'Set the clock of this machine (chrony, systemd-timesyncd): signatures are refused beyond 15 minutes.',
  },
  {
    obstacle: 'endpoint',
    codes: ['HTTP400', 'HTTP404', 'HTTP405', 'InvalidArgument', 'MethodNotAllowed'],
    advice: 'Is it an S3 server? s3.endpoint is the port of its API, not of its console, with the scheme it expects.',
  },
  {
    obstacle: 'bucket',
    codes: ['NoSuchBucket', 'InvalidBucketName'],
    advice: 'Create it, or correct s3.bucket, s3.region or s3.endpoint. Gantry creates no buckets.',
  },
];

/** The codes of answers that a right is missing. */
const DENIED: readonly string[] = [
  'AccessDenied',
  'AccessForbidden',
  'AccessDeniedException',
  'AllAccessDisabled',
  'HTTP403',
];

const OTHERWISE = 'Look into the log of the object store; docs/s3.md says what is known of servers.';

/**
 * What a failed call says about the bucket.
 * @param right what the call needs, as AWS calls it: `s3:PutObject`.
 */
export function diagnose(error: unknown, right: string, place: S3Place): S3Diagnosis {
  const finding = (error instanceof Error ? error.message : String(error)).replace(/^S3: /, '');
  const cause = foreignCauseOf(error);
  const { code } = failureOf(cause, { bucket: place.bucket, doing: '' });
  const known = CASES.find(({ codes }) => codes.includes(code));
  if (known !== undefined) return { obstacle: known.obstacle, finding, advice: known.advice };
  if (!DENIED.includes(code)) return { obstacle: 'endpoint', finding, advice: OTHERWISE };
  return { obstacle: 'right', finding, advice: rightAdvice(cause, right, place) };
}

/** Whether a call was refused for want of a right, so that it did nothing. */
export function isDenied(error: unknown): boolean {
  return DENIED.includes(failureOf(foreignCauseOf(error), { bucket: '', doing: '' }).code);
}

function rightAdvice(cause: unknown, right: string, { bucket, prefix }: S3Place): string {
  const words = cause instanceof Error ? cause.message : '';
  const key = /\bkms:\w+/.exec(words)?.[0];
  if (key !== undefined) return `Allow ${key} for the key of s3.encryption or of the bucket.`;
  const isOfBucket = /s3:List(?:Bucket|BucketMultipartUploads)$/.test(right);
  const resource = `arn:aws:s3:::${bucket}${isOfBucket ? '' : `/${prefix}*`}`;
  return `Allow ${right} on ${resource}; docs/s3.md has the whole policy. A policy of the bucket may deny it, too.`;
}

/** What the object store, the network or the SDK threw, below what we made of it. */
function foreignCauseOf(error: unknown): unknown {
  let cause = error;
  while (cause instanceof ReapiError && cause.facts.cause !== undefined) cause = cause.facts.cause;
  return cause;
}
