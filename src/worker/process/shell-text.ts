import { ReapiError } from '../../errors.ts';
import { checkArgumentSize } from './argument-size.ts';

/** A command as the shell is to run it. All paths are absolute. */
export interface ShellJob {
  readonly arguments: readonly string[];
  readonly environment: ReadonlyMap<string, string>;
  readonly workingDirectory: string;
  readonly stdoutPath: string;
  readonly stderrPath: string;
}

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Variables that mean something to one shell or another, so that setting them could do more than that, or fail. */
const SPECIAL =
  /^(_|IFS|ENV|PWD|OLDPWD|PPID|U?ID|EUID|GROUPS|LINENO|OPT.*|PS[0-9]|MAIL.*|HIST.*|BASH.*|COMP_.*|EPOCH.*|SRANDOM|COPROC|histchars|SHELLOPTS|FUNCNEST|POSIXLY_CORRECT|RANDOM|SECONDS|DIRSTACK|FUNCNAME|LC_.*|LANG)$/;

/**
 * The part of a subshell that turns it into the command: one process, which `setsid` makes the leader of a session
 * and group of its own, so that all of it can be killed. Variables are exported by the shell, which is cheaper than
 * another program; where a name could confuse a shell, `env -i` does it.
 * @throws invalid-argument: NUL in an argument or variable, `=` in a variable's name, more than the system takes.
 */
export function shellText(job: ShellJob, tools: { readonly setsid: string; readonly env: string }): string {
  const names = [...job.environment.keys()];
  for (const name of names) {
    if (name === '' || name.includes('=')) throw wrong('environment_variables', `"${name}" is no name for a variable`);
  }
  checkArgumentSize(job.arguments, job.environment);
  const command = [tools.setsid, '--', ...job.arguments].map((word) => quote(word, 'arguments')).join(' ');
  const streams = `</dev/null >${quote(job.stdoutPath, 'path')} 2>${quote(job.stderrPath, 'path')} 3<&-`;
  const start = `cd ${quote(job.workingDirectory, 'working_directory')}||exit 126;unset PWD OLDPWD;`;
  if (names.every((name) => IDENTIFIER.test(name) && !SPECIAL.test(name))) {
    const exports = [...job.environment].map(([name, value]) => `${name}=${quote(value, 'environment_variables')}`);
    return `${start}${exports.length > 0 ? `export ${exports.join(' ')};` : ''}exec ${command} ${streams}`;
  }
  const pairs = [...job.environment].map(([name, value]) => quote(`${name}=${value}`, 'environment_variables'));
  return `${start}exec ${tools.env} -i -- ${pairs.join(' ')} ${command} ${streams}`;
}

/** A word that every POSIX shell takes literally. */
export function quote(text: string, field: string): string {
  if (text.includes('\0')) throw wrong(field, 'NUL is not allowed');
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function wrong(field: string, what: string): ReapiError {
  return new ReapiError('invalid-argument', `${field}: ${what}`, { field });
}
