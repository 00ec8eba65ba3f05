/** Who calls. */
export interface Principal {
  /** For logs and audit; unique among principals of one kind. */
  readonly name: string;
  readonly kind: 'anonymous' | 'worker';
}

/** A caller without credentials, on a listener that asks for none. */
export const ANONYMOUS: Principal = { name: 'anonymous', kind: 'anonymous' };

/** The worker that the server started itself, on its private socket. */
export const EMBEDDED_WORKER: Principal = { name: 'embedded-worker', kind: 'worker' };
