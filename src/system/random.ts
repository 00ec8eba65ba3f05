import { randomBytes, randomUUID } from 'node:crypto';

/** The only source of randomness. */
export interface Random {
  /** Uniform in [0, 1). */
  fraction(): number;
  /** A version 4 UUID. */
  uuid(): string;
  /** `bytes` random bytes as lower-case hex; unguessable. */
  token(bytes: number): string;
}

/** The machine's randomness; `uuid` and `token` are cryptographically strong. */
export class SystemRandom implements Random {
  fraction(): number {
    return Math.random();
  }

  uuid(): string {
    return randomUUID();
  }

  token(bytes: number): string {
    return randomBytes(bytes).toString('hex');
  }
}
