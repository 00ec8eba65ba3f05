import type { OperationState, Stage } from '../operations.ts';
import { type FilterExpression, type FilterTest, parseFilter } from './filter-parser.ts';
import { filterError } from './filter-tokens.ts';
import { cutId } from './request-ids.ts';

/** Whether an operation is wanted. */
export type OperationFilter = (state: OperationState) => boolean;

/** The stages as a filter spells them, like REAPI's enum. */
const STAGES: Readonly<Record<string, Stage>> = {
  CACHE_CHECK: 'cache-check',
  QUEUED: 'queued',
  EXECUTING: 'executing',
  COMPLETED: 'completed',
};

const BOOLEANS: Readonly<Record<string, boolean>> = { true: true, false: false };

/** Fields whose values are texts. */
const TEXTS: Readonly<Record<string, (state: OperationState) => string>> = {
  name: (state) => state.name,
  instance: (state) => state.key.instance,
  action: (state) => state.key.action.hash,
  tool: (state) => state.ids.tool,
  invocation: (state) => state.ids.invocation,
  correlated: (state) => state.ids.correlated,
  mnemonic: (state) => state.ids.mnemonic,
  target: (state) => state.ids.target,
  worker: (state) => state.slot ?? '',
};

/** Texts that are cut when they are kept; what they are compared with is cut alike. */
const CUT: ReadonlySet<string> = new Set(['tool', 'invocation', 'correlated', 'mnemonic', 'target']);

/** What a filter can ask about. */
export const FILTER_FIELDS: readonly string[] = ['stage', 'done', ...Object.keys(TEXTS)];

/**
 * The filter a text describes (R-OP-03); nothing but white space wants every operation. Grammar: `filter-parser.ts`.
 * @throws invalid-argument that names the position, and for a wrong field or value those that there are.
 */
export function operationFilter(text: string): OperationFilter {
  if (text.trim() === '') return () => true;
  return compile(parseFilter(text));
}

function compile(expression: FilterExpression): OperationFilter {
  switch (expression.type) {
    case 'and': {
      const parts = expression.parts.map(compile);
      return (state) => parts.every((part) => part(state));
    }
    case 'or': {
      const parts = expression.parts.map(compile);
      return (state) => parts.some((part) => part(state));
    }
    case 'not': {
      const part = compile(expression.part);
      return (state) => !part(state);
    }
    case 'test':
      return compileTest(expression);
  }
}

function compileTest(test: FilterTest): OperationFilter {
  const { field, operator, position } = test;
  if (field === 'stage') {
    const stage = oneOf(test, STAGES, test.value.toUpperCase());
    return equality(test, (state) => state.stage === stage);
  }
  if (field === 'done') {
    const isDone = oneOf(test, BOOLEANS, test.value);
    return equality(test, (state) => (state.stage === 'completed') === isDone);
  }
  const read = Object.hasOwn(TEXTS, field) ? TEXTS[field] : undefined;
  if (read === undefined) {
    throw filterError(position, `there is no field "${field}"; there are ${FILTER_FIELDS.join(', ')}`);
  }
  if (operator === ':') return (state) => read(state).includes(test.value);
  const value = CUT.has(field) ? cutId(test.value) : test.value;
  return equality(test, (state) => read(state) === value);
}

function equality(test: FilterTest, isEqual: OperationFilter): OperationFilter {
  if (test.operator === ':') throw filterError(test.position, `"${test.field}" can be compared with = and != only`);
  return test.operator === '=' ? isEqual : (state) => !isEqual(state);
}

function oneOf<T>(test: FilterTest, known: Readonly<Record<string, T>>, name: string): T | undefined {
  if (Object.hasOwn(known, name)) return known[name];
  const values = Object.keys(known).join(', ');
  throw filterError(test.valuePosition, `"${test.value}" is no value of "${test.field}"; there are ${values}`);
}
