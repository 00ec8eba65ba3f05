import type { Command } from 'commander';
import { doctorS3 } from '../compose/operator/s3-doctor-command.ts';
import type { OpenS3Probe } from '../compose/operator/s3-doctor-probe.ts';
import type { Terminal } from '../compose/operator/terminal.ts';
import { FLAG_KEYS } from '../config/flags.ts';
import { type ConfigurationSurroundings, configurable, type Given, load } from './load-configuration.ts';
import { type Surroundings, untilStopped } from './run-role.ts';

/** What `gantry doctor` needs of the process. */
export interface DoctorSurroundings extends Terminal, ConfigurationSurroundings, Pick<Surroundings, 'onStopSignal'> {
  /** Opens a bucket to look at it. */
  readonly openS3Probe: OpenS3Probe;
}

/** Adds `doctor s3`. @param fail makes the exit code a failure. */
export function addDoctorCommand(program: Command, surroundings: DoctorSurroundings, fail: () => void): void {
  const doctor = program.command('doctor').description('find out whether what the server depends on works');
  const help = 'try everything that Gantry does with the configured bucket; exit code 1 if something fails';
  configurable(
    doctor.command('s3').description(help),
    FLAG_KEYS.filter(({ path }) => path.startsWith('s3.')),
  )
    .option('--json', 'print one report for programs', false)
    .action(async ({ json, ...given }: Given & { readonly json: boolean }) => {
      const config = load(given, surroundings);
      const { environment } = surroundings;
      const isUsable = await untilStopped(surroundings, (signal) =>
        doctorS3(config, surroundings.openS3Probe, surroundings, {
          isJson: json,
          signal,
          ...(environment && { environment }),
        }),
      );
      if (!isUsable) fail();
    });
}
