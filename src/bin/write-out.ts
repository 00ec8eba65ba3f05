/** The end of a stream that takes chunks, such as standard output. */
export interface ChunkSink {
  write(bytes: Uint8Array, done: (error?: Error | null) => void): boolean;
  on(event: 'error', handler: (error: Error) => void): unknown;
  off(event: 'error', handler: (error: Error) => void): unknown;
}

/**
 * Writes bytes to standard output at the pace of its reader.
 * @returns false if the reader has gone away, as `head` does. @throws other errors of the stream.
 */
export function writeOut(sink: ChunkSink, bytes: Uint8Array): Promise<boolean> {
  return new Promise((resolve, reject) => {
    // The stream tells of its failure by an event too, which would end the process if nobody listened.
    const ignore = (): void => undefined;
    sink.on('error', ignore);
    sink.write(bytes, (error) => {
      if (error === undefined || error === null) {
        sink.off('error', ignore);
        resolve(true);
      } else if ('code' in error && error.code === 'EPIPE') resolve(false);
      else reject(error);
    });
  });
}
