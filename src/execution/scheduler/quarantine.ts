import { type ActionKey, actionKeyText } from '../../digest/action-key.ts';
import type { QuarantineView } from './view.ts';

/** Actions that are refused because they took down workers. */
export class Quarantine {
  readonly #byText = new Map<string, QuarantineView>();
  readonly #maxActions: number;

  /** @param maxActions above it the oldest is forgotten. */
  constructor(maxActions: number) {
    this.#maxActions = maxActions;
  }

  add(view: QuarantineView): void {
    const text = actionKeyText(view.key);
    this.#byText.delete(text);
    this.#byText.set(text, view);
    for (const oldest of this.#byText.keys()) {
      if (this.#byText.size <= this.#maxActions) return;
      this.#byText.delete(oldest);
    }
  }

  /** Why the action is refused, or undefined. */
  get(key: ActionKey, nowMs: number): QuarantineView | undefined {
    if (this.#byText.size === 0) return undefined;
    const keyText = actionKeyText(key);
    const view = this.#byText.get(keyText);
    if (view === undefined || view.untilMs > nowMs) return view;
    this.#byText.delete(keyText);
    return undefined;
  }

  release(key: ActionKey): void {
    this.#byText.delete(actionKeyText(key));
  }

  /** Those in force, the oldest first. */
  all(nowMs: number): readonly QuarantineView[] {
    return [...this.#byText.values()].filter(({ untilMs }) => untilMs > nowMs);
  }
}
