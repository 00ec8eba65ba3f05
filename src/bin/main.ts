#!/usr/bin/env node
import { checkHealth } from '../compose/health.ts';
import { serve, server, worker } from '../compose/roles.ts';
import { runCli } from './cli.ts';
import { notifyServiceManager } from './notify-service-manager.ts';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

const exitCode = await runCli(process.argv.slice(2), {
  roles: { serve, server, worker },
  checkHealth,
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  onStopSignal: (handler) => {
    for (const signal of SIGNALS) process.on(signal, handler);
    return () => {
      for (const signal of SIGNALS) process.off(signal, handler);
    };
  },
  notify: notifyServiceManager,
});
process.exit(exitCode);
