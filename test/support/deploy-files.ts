/** One instruction of a Dockerfile, continuation lines joined. */
export interface Instruction {
  readonly name: string;
  readonly argument: string;
}

/** What may stand at the start of a line of a Dockerfile. */
const INSTRUCTIONS = new Set(
  'ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR'.split(
    ' ',
  ),
);

/**
 * The instructions of a Dockerfile.
 * @throws Error for an unknown instruction, one without argument, or a stage that begins with anything but FROM.
 */
export function instructionsOf(dockerfile: string): readonly Instruction[] {
  const lines = dockerfile.split('\n').filter((line) => !/^\s*#/.test(line));
  const joined = lines.join('\n').replace(/\\\n\s*/g, '');
  const instructions = joined.split('\n').flatMap((line) => {
    if (line.trim() === '') return [];
    const [, name = '', argument = ''] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
    if (!INSTRUCTIONS.has(name) || argument.trim() === '') throw new Error(`not an instruction: ${line}`);
    return [{ name, argument: argument.replace(/\s+/g, ' ').trim() }];
  });
  const first = instructions.find(({ name }) => name !== 'ARG');
  if (first?.name !== 'FROM') throw new Error('a Dockerfile begins with FROM');
  return instructions;
}

/**
 * The sections of a systemd unit, each with its keys in order; a key may stand several times.
 * @throws Error for a line that is neither a section, a key nor a comment, and for a key outside sections.
 */
export function unitSectionsOf(unit: string): ReadonlyMap<string, readonly (readonly [string, string])[]> {
  const sections = new Map<string, (readonly [string, string])[]>();
  let current: (readonly [string, string])[] | undefined;
  for (const line of unit.split('\n')) {
    if (/^\s*(?:[#;].*)?$/.test(line)) continue;
    const [, section] = /^\[([A-Z][A-Za-z]+)\]$/.exec(line) ?? [];
    const [, key, value = ''] = /^([A-Z][A-Za-z0-9]*)=(.*)$/.exec(line) ?? [];
    if (section !== undefined) {
      if (sections.has(section)) throw new Error(`the section ${section} stands twice`);
      current = [];
      sections.set(section, current);
    } else if (key !== undefined && current !== undefined) current.push([key, value]);
    else throw new Error(`not a line of a unit: ${line}`);
  }
  return sections;
}
