/** Keys to sign with. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials. */
  readonly sessionToken?: string;
}

/** Encryption at rest by the object store: as the bucket is set up, with keys of S3, or with a key of KMS (the default one if absent). */
export type S3Encryption =
  | { readonly kind: 'bucket-default' }
  | { readonly kind: 's3' }
  | { readonly kind: 'kms'; readonly keyId?: string };

/** Where a bucket is and how to talk to it. */
export interface S3Options {
  readonly bucket: string;
  /** Begins all keys: empty, or ends in a slash. */
  readonly prefix: string;
  readonly region: string;
  /** Of servers other than AWS, `http(s)://host[:port]`; undefined: AWS's for the region. */
  readonly endpoint: string | undefined;
  /** The bucket stands in the path and not in the host name: what most servers other than AWS need. */
  readonly pathStyle: boolean;
  /** Undefined: the SDK's chain (environment, shared files, web identity, container and instance roles). */
  readonly credentials: S3Credentials | undefined;
  readonly encryption: S3Encryption;
  /** `STANDARD`, `INTELLIGENT_TIERING` …; undefined: the server's default. */
  readonly storageClass: string | undefined;
  /** HTTP proxy, `http://host:port`. */
  readonly proxy: string | undefined;
  /** Further certificate authorities to trust, PEM. */
  readonly certificateAuthorities: string | undefined;
  /** Requests in flight at the same time; the others wait for their turn. */
  readonly maxConcurrentRequests: number;
  /** A request whose answer does not begin within that, or whose body stands still for so long, is given up and tried again. */
  readonly requestTimeoutMs: number;
  /** Tries of one request, the first included. */
  readonly maxAttempts: number;
}
