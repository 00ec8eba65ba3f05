import { z } from 'zod';

/** A value that is not written where others can read it: where to find it. */
export type SecretSource = { readonly env: string } | { readonly file: string };

const source = [
  z.strictObject({ env: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/) }),
  z.strictObject({ file: z.string().min(1) }),
] as const;

const NOT_IN_THE_FILE = 'must be { env: NAME } or { file: PATH }, so that the configuration holds no secret';

/** What may be said of a secret: nothing, or where it is. */
const secret = (description: string) =>
  z
    .union([z.literal(''), ...source], { error: NOT_IN_THE_FILE })
    .meta({ unit: 'secret' })
    .default('')
    .describe(description);

/** Storage classes whose objects have to be restored, within hours, before they can be read. */
const UNREADABLE_CLASSES: readonly string[] = ['GLACIER', 'DEEP_ARCHIVE'];

/** Keys to sign with; which go together is checked with the whole configuration. */
export const s3Credentials = z
  .strictObject({
    accessKeyId: z
      .union([z.string().regex(/^[\x21-\x7e]{0,256}$/), ...source], {
        error: 'must be text, { env: NAME } or { file: PATH }',
      })
      .meta({ unit: 'text or secret' })
      .default('')
      .describe('Name of the access key. Empty: the credentials are found as the SDK of AWS does.'),
    secretAccessKey: secret('The secret of the access key, as `{ env: NAME }` or `{ file: PATH }`.'),
    sessionToken: secret('Belongs to temporary credentials; as `{ env: NAME }` or `{ file: PATH }`.'),
  })
  .prefault({})
  .describe(
    'Keys to sign with. Without them the chain of the AWS SDK is asked: `AWS_…` variables, `~/.aws`, web identity (IRSA), the role of the container or machine.',
  );

/** Encryption at rest. */
export const s3Encryption = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('bucket-default') }),
    z.strictObject({ kind: z.literal('s3') }),
    z.strictObject({ kind: z.literal('kms'), keyId: z.string().min(1).max(2048).optional() }),
  ])
  .default({ kind: 'bucket-default' })
  .describe(
    "Encryption at rest: `{ kind: bucket-default }` asks for nothing, so that the bucket decides; `{ kind: s3 }` for keys of S3; `{ kind: kms, keyId: … }` for a key of KMS, the account's default one without `keyId`.",
  );

/** The server's address. */
export const s3Endpoint = z
  .string()
  .refine((text) => text === '' || isOrigin(text, ['http:', 'https:']), {
    message: 'must be http(s)://HOST or http(s)://HOST:PORT, without path, bucket or credentials',
  })
  .default('')
  .describe('Address of a server other than AWS, `http(s)://HOST:PORT`. Empty: AWS in the region.');

/** How to get there. */
export const s3Proxy = z
  .string()
  .refine((text) => text === '' || isOrigin(text, ['http:']), {
    message: 'must be http://HOST:PORT, without path or credentials',
  })
  .default('')
  .describe('HTTP proxy for all requests to S3, `http://HOST:PORT`. Empty: none; `HTTPS_PROXY` is not looked at.');

/** How long objects are meant to stay and how fast they come back, in words of the server. */
export const s3StorageClass = z
  .string()
  .regex(/^[A-Za-z0-9_-]{0,64}$/, { message: 'must be a word like STANDARD or INTELLIGENT_TIERING' })
  .refine((text) => !UNREADABLE_CLASSES.includes(text), {
    message: 'cannot be read back at once: objects of that class have to be restored first',
  })
  .default('')
  .describe(
    'Storage class of new objects, like `STANDARD`, `INTELLIGENT_TIERING` or `STANDARD_IA`. Empty: what the server takes by itself.',
  );

/** Which of the credentials lack what they need, as paths below `s3.credentials`. */
export function incompleteCredentials(
  credentials: z.output<typeof s3Credentials>,
): readonly (readonly [string, string])[] {
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  const problems: (readonly [string, string])[] = [];
  const needs = (key: string, other: string): void => {
    problems.push([key, `needs s3.credentials.${other}`]);
  };
  if (accessKeyId !== '' && secretAccessKey === '') needs('accessKeyId', 'secretAccessKey');
  if (secretAccessKey !== '' && accessKeyId === '') needs('secretAccessKey', 'accessKeyId');
  if (sessionToken !== '' && accessKeyId === '') needs('sessionToken', 'accessKeyId');
  return problems;
}

/** Whether a URL is scheme, host and port and nothing else. */
function isOrigin(text: string, schemes: readonly string[]): boolean {
  const url = URL.parse(text);
  return url !== null && schemes.includes(url.protocol) && /^[a-z]+:\/\/[^/?#@\s]+\/?$/i.test(text);
}
