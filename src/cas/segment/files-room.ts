import type { RoomSource } from '../../system/room-source.ts';
import type { Space } from './space.ts';

/**
 * The store's limit as the folder of large blobs sees it. The folder asks for one file at a time and reports what it takes in
 * all; only a reservation makes that more, so the first rise after an answer is the room that was taken for it.
 */
export class FilesRoom implements RoomSource {
  readonly #space: Space;
  #takenBytes = 0;
  #reportedBytes = 0;

  constructor(space: Space) {
    this.#space = space;
  }

  async make(diskBytes: number): Promise<void> {
    // The folder was closed, or its caller gave up, after an earlier answer.
    this.#space.give('files', this.#takenBytes);
    this.#takenBytes = 0;
    await this.#space.take('files', diskBytes);
    this.#takenBytes = diskBytes;
  }

  changed(diskBytes: number): void {
    const rise = diskBytes - this.#reportedBytes;
    this.#reportedBytes = diskBytes;
    if (rise > 0 && rise === this.#takenBytes) this.#takenBytes = 0;
    else this.#space.add('files', rise);
  }
}
