import type { SimEffect, SimEvent, SimSync } from './vocabulary.ts';

/** An event or effect in a few words. */
export function brief(item: SimEvent | SimEffect): string {
  switch (item.type) {
    case 'submit': {
      const shares = (item.shares ?? []).map(({ id }) => id).join('/');
      const facts = `${item.merge} ${item.key.action.hash.slice(-2)} priority ${item.priority}`;
      return `submit ${item.operation} ${facts} for ${shares} class ${item.sizeClass ?? 0}`;
    }
    case 'sync':
      return briefSync(item);
    case 'orders': {
      const hold = item.hold === undefined ? undefined : `${item.hold.lease} of ${item.hold.work?.madeBy ?? 'nobody'}`;
      return `orders ${item.slot} ${hold ?? (item.exits ? 'exit' : item.waits ? 'wait' : 'nothing')}`;
    }
    case 'finish':
      return `finish ${item.operation} ${item.outcome.type === 'failed' ? item.outcome.error.message : 'result'}`;
    case 'record':
    case 'recorded':
      return `${item.type} ${item.lease}`;
    case 'stage':
      return `${item.operation} ${item.stage}`;
    case 'notice':
      return `notice ${item.notice.text}`;
    case 'drain':
      return `drain ${JSON.stringify(item.pattern)} ${item.on}${item.isTermination ? ' terminates' : ''}`;
    case 'wake':
      return `wake ${item.atMs}`;
    case 'tick':
      return 'tick';
    case 'attach':
    case 'detach':
    case 'cancel':
      return `${item.type} ${item.operation}`;
    case 'answered':
    case 'leave':
      return `${item.type} ${item.slot}`;
    case 'forgive':
      return `forgive ${item.node}`;
    case 'release':
      return `release ${item.key.action.hash.slice(-2)}`;
  }
}

function briefSync({ slot, holding: held, prefersIdle }: SimSync): string {
  const state = held?.completed === undefined ? 'executing' : held.completed.verdict;
  const what = held === undefined ? 'idle' : `${state} ${held.action.hash.slice(-2)} ${held.lease ?? '?'}`;
  return `sync ${slot} ${what}${prefersIdle ? ' prefers idle' : ''}`;
}
