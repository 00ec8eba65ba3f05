import { z } from 'zod';
import { count, GIB, KIB, MIB, seconds, size } from './units.ts';

/** What one request may ask for. */
export const limits = z
  .strictObject({
    maxBatchTotalSizeBytes: size(
      { min: 64 * KIB, max: 3.75 * MIB, by: 3 * MIB },
      'Most bytes of blobs in one batch call; announced to clients. Leaves room for the envelope under the 4 MiB that clients receive (R-CAP-06).',
    ),
    maxBlobSizeBytes: size(
      { min: 0, max: 1024 * GIB, by: 0 },
      'Largest blob that may be uploaded; announced to clients. 0: no limit but the size of the store.',
    ),
    maxDigestsPerRequest: count(
      { min: 1000, max: 1_000_000, by: 50_000 },
      'Most digests in one FindMissingBlobs or batch call. The answer to 50,000 fits into the 4 MiB that clients receive; clients ask for 14,000 at most.',
    ),
    maxSuspendedUploads: count(
      { min: 0, max: 100_000, by: 1000 },
      'Most broken-off uploads that are kept for their client to go on with (R-BS-45). Beyond it the oldest is dropped.',
    ),
    suspendedUploadSeconds: seconds(
      { min: 0, max: 86_400, by: 120 },
      'How long a broken-off upload is kept, with the room its blob needs (R-BS-45).',
    ),
    maxTreeDepth: count({ min: 16, max: 4096, by: 256 }, 'Deepest directory of an input root or of GetTree (R-CM-10).'),
    maxTreeDirectories: count(
      { min: 1000, max: 10_000_000, by: 1_000_000 },
      'Most directories of an input root or of GetTree (R-CM-10).',
    ),
    maxTreePageDirectories: count({ min: 1, max: 100_000, by: 10_000 }, 'Most directories in one answer of GetTree.'),
    maxMessageBlobBytes: size(
      { min: MIB, max: 256 * MIB, by: 16 * MIB },
      'Largest Action, Command, Directory or Tree blob that is read as a message.',
    ),
  })
  .prefault({})
  .describe('Limits of requests.');

/** The transport. */
export const rpc = z
  .strictObject({
    maxReceiveMessageBytes: size(
      { min: 4 * MIB, max: 256 * MIB, by: 16 * MIB },
      'Largest request message; above it a call fails with RESOURCE_EXHAUSTED (R-XC-04).',
    ),
    maxSendMessageBytes: size(
      { min: MIB, max: 256 * MIB, by: 4 * MIB - 64 * KIB },
      'Largest message of ours. Most clients receive no more than 4 MiB (R-XC-05).',
    ),
    maxConcurrentStreams: count(
      { min: 200, max: 100_000, by: 1000 },
      'Most calls at the same time on one connection (R-XC-06); clients wait with the rest.',
    ),
    maxConnections: count({ min: 1, max: 1_000_000, by: 10_000 }, 'Most connections; further ones are closed at once.'),
    streamWindowBytes: size(
      { min: 64 * KIB, max: 64 * MIB, by: 4 * MIB },
      'Bytes of one call that may be on their way to us (HTTP/2 flow control). The default of HTTP/2, 64 KiB, caps an upload at one window per round trip (R-XC-07).',
    ),
    connectionWindowBytes: size(
      { min: 64 * KIB, max: 1024 * MIB, by: 32 * MIB },
      'Bytes of all calls of one connection that may be on their way to us (R-XC-07).',
    ),
    keepaliveIntervalSeconds: seconds(
      { min: 10, max: 86_400, by: 60 },
      'How often a quiet connection is pinged, so that dead peers are noticed.',
    ),
    keepaliveTimeoutSeconds: seconds(
      { min: 1, max: 3600, by: 20 },
      'How long a ping may stay unanswered before the connection is closed.',
    ),
  })
  .prefault({})
  .describe('Connections and messages.');
