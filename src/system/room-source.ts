/**
 * A limit that several stores share, as one of them sees it. The store takes room only through `make` and evicts nothing by
 * itself; the source decides what goes, and asks the store that holds it (`BoundedFolder.evictOldest`).
 */
export interface RoomSource {
  /**
   * Resolves when that many bytes may be added. The store asks for one file at a time and takes the room as soon as it
   * resolves, before anything but microtasks that were queued earlier can run; `changed` tells of it. If the store was
   * closed meanwhile it takes nothing.
   * @throws quota-exceeded; too-large.
   */
  make(diskBytes: number): Promise<void>;
  /**
   * What the folder takes on disk from now on, in all: files, reservations and quarantine. Told once when the folder is opened,
   * then at every change. It rises by reservations, and by a damaged file that turns out larger than it should be. Must not throw.
   */
  changed(diskBytes: number): void;
}
