import type { ErrorKind } from '../../errors.ts';

/** What a code means. */
export interface Meaning {
  readonly kind: ErrorKind;
  /** Follows `S3: `. `$bucket` stands for the name of the bucket. */
  readonly text: string;
  readonly isTransient?: true;
  readonly isThrottling?: true;
  /** For clients: trying again earlier is pointless. */
  readonly retryAfterMs?: number;
  readonly codes: readonly string[];
  /** Of answers whose code is none of the known ones, or that have none. */
  readonly statuses?: readonly number[];
}

/** The load of a server or a network passes within seconds; what an operator must mend does not. */
const SOON_MS = 2_000;
const THROTTLED_MS = 5_000;
const OPERATOR_MS = 30_000;

/**
 * Every case and what demanded it. A client is never told that it may not do something: it is the server's credentials that may not.
 * Texts are ours and not the object store's, whose messages name accounts and keys; those are in `cause`, for the log.
 */
const MEANINGS: readonly Meaning[] = [
  {
    // The answer to reading what another server has deleted.
    kind: 'not-found',
    text: 'there is no such object in bucket "$bucket"',
    codes: ['NoSuchKey'],
  },
  {
    // A pack that is shorter than its index says.
    kind: 'data-loss',
    text: 'an object in bucket "$bucket" ends before the bytes that were asked for',
    codes: ['InvalidRange'],
    statuses: [416],
  },
  {
    // MinIO on a full disk or over a bucket's quota; Ceph answers 403 with its own code.
    kind: 'quota-exceeded',
    text: 'the server of bucket "$bucket" has no room left',
    retryAfterMs: OPERATOR_MS,
    codes: ['XMinioStorageFull', 'XMinioAdminBucketQuotaExceeded', 'QuotaExceeded', 'InsufficientStorage'],
    statuses: [507],
  },
  {
    // Bucket deleted, or misspelt in the configuration.
    kind: 'unavailable',
    text: 'the bucket "$bucket" does not exist',
    retryAfterMs: OPERATOR_MS,
    codes: ['NoSuchBucket', 'InvalidBucketName'],
  },
  {
    // Keys mistyped, revoked or run out.
    kind: 'unavailable',
    text: 'the credentials for bucket "$bucket" are refused',
    retryAfterMs: OPERATOR_MS,
    codes: [
      ...['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'InvalidToken', 'ExpiredToken', 'ExpiredTokenException'],
      ...['TokenRefreshRequired', 'InvalidSecurity', 'NotSignedUp', 'AccountProblem', 'UnrecognizedClientException'],
    ],
    statuses: [401],
  },
  {
    // A policy that lacks a right.
    kind: 'unavailable',
    text: 'the credentials may not do this in bucket "$bucket"; see its policy',
    retryAfterMs: OPERATOR_MS,
    codes: ['AccessDenied', 'AllAccessDisabled', 'AccessForbidden', 'AccessDeniedException'],
    statuses: [403],
  },
  {
    // Nothing in the SDK's chain: no variable, no file, no role.
    kind: 'unavailable',
    text: 'no credentials were found for bucket "$bucket"',
    retryAfterMs: OPERATOR_MS,
    codes: ['CredentialsProviderError', 'ProviderError', 'TokenProviderError', 'AuthorizationHeaderMissing'],
  },
  {
    // Transient only when the SDK has just learned the offset (`clockSkewCorrected`); see `failureOf`.
    kind: 'unavailable',
    text: 'the clock of this machine differs from that of bucket "$bucket"\'s server',
    retryAfterMs: OPERATOR_MS,
    codes: ['RequestTimeTooSkewed', 'RequestExpired', 'RequestInTheFuture'],
  },
  {
    // A wrong `region`, or AWS's endpoint of another one.
    kind: 'unavailable',
    text: 'the bucket "$bucket" is in another region, or the endpoint is not its own',
    retryAfterMs: OPERATOR_MS,
    codes: [
      ...['PermanentRedirect', 'TemporaryRedirect', 'Redirect', 'AuthorizationHeaderMalformed'],
      ...['IllegalLocationConstraintException', 'InvalidLocationConstraint'],
    ],
    statuses: [301, 302, 307, 308],
  },
  {
    // Prefixes that get too many requests; MinIO's queue; gateways in front of them.
    kind: 'unavailable',
    text: 'the server of bucket "$bucket" asks to slow down',
    retryAfterMs: THROTTLED_MS,
    isTransient: true,
    isThrottling: true,
    codes: [
      ...['SlowDown', 'SlowDownRead', 'SlowDownWrite', 'ServiceUnavailable', 'Throttling', 'ThrottlingException'],
      ...['TooManyRequests', 'TooManyRequestsException', 'RequestLimitExceeded', 'BandwidthLimitExceeded'],
      ...['XMinioServerNotInitialized', 'Busy'],
    ],
    statuses: [429, 503],
  },
  {
    // What S3 asks clients to send again, and bodies that were damaged on their way.
    kind: 'unavailable',
    text: 'the server of bucket "$bucket" failed',
    retryAfterMs: SOON_MS,
    isTransient: true,
    codes: [
      ...['InternalError', 'InternalFailure', 'OperationAborted', 'ConditionalRequestConflict', 'IncompleteBody'],
      ...['BadDigest', 'InvalidDigest', 'XAmzContentSHA256Mismatch', 'RequestTimeout'],
    ],
    statuses: [408, 500, 502, 504],
  },
  {
    // A clean-up by lifecycle rule or by another server, while we were sending parts.
    kind: 'unavailable',
    text: 'somebody dropped an upload to bucket "$bucket"',
    retryAfterMs: SOON_MS,
    codes: ['NoSuchUpload', 'InvalidPart'],
  },
  {
    // A lifecycle rule that moves packs to an archive.
    kind: 'unavailable',
    text: 'an object of bucket "$bucket" was archived; restore it and mend the lifecycle rule',
    retryAfterMs: OPERATOR_MS,
    codes: ['InvalidObjectState'],
  },
  {
    // Encryption with a key that is gone, disabled, or not ours to use.
    kind: 'unavailable',
    text: 'the encryption key of bucket "$bucket" cannot be used',
    retryAfterMs: OPERATOR_MS,
    codes: [
      ...[
        'KMS.DisabledException',
        'KMS.NotFoundException',
        'KMS.KMSInvalidStateException',
        'KMS.InvalidKeyUsageException',
      ],
      ...['KMSNotConfigured', 'KMSKeyNotFoundException'],
    ],
  },
  {
    // Small S3 servers; a web server that is not one.
    kind: 'unavailable',
    text: 'the server of bucket "$bucket" does not offer this operation; is it an S3 server?',
    retryAfterMs: OPERATOR_MS,
    codes: ['NotImplemented', 'MethodNotAllowed', 'InvalidStorageClass', 'NotSupported'],
    statuses: [404, 405, 501],
  },
  {
    // Server stopped, restarting, or behind a network that is.
    kind: 'unavailable',
    text: 'the server of bucket "$bucket" cannot be reached',
    retryAfterMs: SOON_MS,
    isTransient: true,
    codes: [
      ...[
        'ECONNREFUSED',
        'ECONNRESET',
        'EPIPE',
        'ETIMEDOUT',
        'EHOSTUNREACH',
        'ENETUNREACH',
        'ENETDOWN',
        'ECONNABORTED',
      ],
      ...['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL', 'ERR_STREAM_PREMATURE_CLOSE', 'HPE_INVALID_CONSTANT', 'EPROTO'],
    ],
  },
  {
    // Slow first byte, a body that stands still, a host that drops packets.
    kind: 'unavailable',
    text: 'the server of bucket "$bucket" did not answer in time',
    retryAfterMs: SOON_MS,
    isTransient: true,
    codes: ['TimeoutError', 'ERR_SOCKET_CONNECTION_TIMEOUT'],
  },
  {
    // A private authority that is not configured, a certificate that ran out or is for another name.
    kind: 'unavailable',
    text: 'the certificate of the server of bucket "$bucket" is not trusted',
    retryAfterMs: OPERATOR_MS,
    codes: [
      ...['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'],
      ...['SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID'],
      ...['CERT_UNTRUSTED', 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ],
  },
  {
    // The proxy refuses or cannot reach the server.
    kind: 'unavailable',
    text: 'the proxy does not let through to the server of bucket "$bucket"',
    retryAfterMs: SOON_MS,
    isTransient: true,
    codes: ['ERR_PROXY_TUNNEL', 'ERR_PROXY_INVALID_CONFIG'],
  },
];

/** Every other answer below 500: the same request would get the same one. */
const REFUSED: Meaning = {
  kind: 'unavailable',
  text: 'the server of bucket "$bucket" refused a request',
  retryAfterMs: OPERATOR_MS,
  codes: [],
};

/** Answers that cannot be understood, and connections that broke without a code. */
const UNKNOWN: Meaning = {
  kind: 'unavailable',
  text: 'talking to the server of bucket "$bucket" failed',
  retryAfterMs: SOON_MS,
  isTransient: true,
  codes: [],
};

const BY_CODE = new Map(MEANINGS.flatMap((meaning) => meaning.codes.map((code) => [code, meaning] as const)));
const BY_STATUS = new Map(
  MEANINGS.flatMap((meaning) => (meaning.statuses ?? []).map((status) => [status, meaning] as const)),
);

/** What an answer, or a broken connection, means. @param status of HTTP, if there was an answer. */
export function meaningOf(code: string, status: number | undefined): Meaning {
  const known = BY_CODE.get(code) ?? (status === undefined ? undefined : BY_STATUS.get(status));
  if (known !== undefined) return known;
  return status !== undefined && status >= 400 && status < 500 ? REFUSED : UNKNOWN;
}

/** Whether the code alone says what happened. */
export function isKnownCode(code: string): boolean {
  return BY_CODE.has(code);
}
