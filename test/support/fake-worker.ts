/**
 * What the supervisor of the embedded worker takes for a worker. Its arguments say what it does, in this order:
 * `ready` tells the parent so, `deaf` ignores SIGTERM, `stay` lives until it is told to stop, `exit-N` ends with that code.
 */
const acts: Readonly<Record<string, () => void>> = {
  ready: () => process.send?.({ type: 'ready', slots: 2, properties: [{ name: 'OSFamily', value: 'linux' }] }),
  deaf: () => process.on('SIGTERM', () => undefined),
  // A listener for the channel keeps a process alive until its parent is gone.
  stay: () => process.on('disconnect', () => process.exit(0)),
};

for (const word of process.argv.slice(2)) {
  const code = /^exit-(\d+)$/.exec(word)?.[1];
  if (code !== undefined) process.exit(Number(code));
  acts[word]?.();
}
