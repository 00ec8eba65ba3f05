#!/usr/bin/env node
import { checkHealth } from '../compose/health.ts';
import { openBucket } from '../compose/operator/open-bucket.ts';
import { openLocalStore } from '../compose/operator/open-local-store.ts';
import { openS3Probe } from '../compose/operator/s3-doctor-probe.ts';
import { serve, server, worker } from '../compose/roles.ts';
import { isTerminalDumb } from '../config/load.ts';
import { runCli } from './cli.ts';
import { notifyServiceManager } from './notify-service-manager.ts';
import { terminalScreen } from './terminal-screen.ts';
import { writeOut } from './write-out.ts';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

const exitCode = await runCli(process.argv.slice(2), {
  roles: { serve, server, worker },
  checkHealth,
  openLocalStore,
  openBucket,
  openS3Probe,
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  writeOut: (bytes) => writeOut(process.stdout, bytes),
  isTerminal: { out: process.stdout.isTTY === true, err: process.stderr.isTTY === true },
  ...(process.stdout.isTTY && !isTerminalDumb() && { screen: terminalScreen(process.stdin, process.stdout) }),
  onStopSignal: (handler) => {
    for (const signal of SIGNALS) process.on(signal, handler);
    return () => {
      for (const signal of SIGNALS) process.off(signal, handler);
    };
  },
  notify: notifyServiceManager,
});
process.exit(exitCode);
