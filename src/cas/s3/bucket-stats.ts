/** What a bucket holds and how it is doing, for metrics and operators. Bytes are bytes of objects. */
export interface BucketStats {
  /** Whether S3 answers. */
  readonly isReachable: boolean;
  /** Since the last news of other servers; undefined before the first. */
  readonly staleSeconds: number | undefined;
  readonly blobs: number;
  readonly entries: number;
  readonly packs: number;
  readonly largeBlobs: number;
  /** Packs and large blobs that are going to be deleted. */
  readonly condemned: number;
  readonly bytes: number;
  /** Of `bytes`, what is still referred to. */
  readonly liveBytes: number;
  readonly damagedPacks: number;
  /** Accepted, and not in the bucket yet. */
  readonly backlogBytes: number;
  readonly maxBacklogBytes: number;
  readonly pendingUploads: number;
  /** Since the start. */
  readonly refusedWrites: number;
  readonly storedPacks: number;
  readonly copiedBytes: number;
  readonly deletedObjects: number;
  readonly otherServers: number;
  readonly indexMemoryBytes: number;
}
