/** Something that can be in a group; `group`, `older` and `newer` belong to `TargetGroups`. */
export interface GroupMember<Member> {
  group: TargetGroup<Member> | undefined;
  older: Member | undefined;
  newer: Member | undefined;
}

/** Actions of one target and mnemonic under one instance name, the latest first. */
export interface TargetGroup<Member> {
  readonly name: string;
  readonly targetId: string;
  readonly mnemonic: string;
  newest: Member | undefined;
}

/**
 * Members in order of last use within their target and mnemonic. A member is in one group at most, and a group without
 * members is dropped: memory is bounded by the members alone. All operations take constant time.
 */
export class TargetGroups<Member extends GroupMember<Member>> {
  readonly #groups = new Map<string, TargetGroup<Member>>();

  /** Groups with members. */
  get size(): number {
    return this.#groups.size;
  }

  /** The group of that name, made if need be; `move` puts the first member in. */
  open(instance: string, targetId: string, mnemonic: string): TargetGroup<Member> {
    // No instance name, target or mnemonic that makes sense has a line break; if one has, groups are merely joined.
    const name = `${instance}\n${targetId}\n${mnemonic}`;
    return this.#groups.get(name) ?? { name, targetId, mnemonic, newest: undefined };
  }

  /** Makes it the newest of a group, leaving the one it was in. */
  move(member: Member, group: TargetGroup<Member>): void {
    if (group.newest === member) return;
    this.leave(member);
    member.group = group;
    member.older = group.newest;
    if (group.newest === undefined) this.#groups.set(group.name, group);
    else group.newest.newer = member;
    group.newest = member;
  }

  /** Takes it out of its group, if it is in one. */
  leave(member: Member): void {
    const { group, older, newer } = member;
    if (group === undefined) return;
    if (older !== undefined) older.newer = newer;
    if (newer !== undefined) newer.older = older;
    else group.newest = older;
    if (group.newest === undefined) this.#groups.delete(group.name);
    member.group = undefined;
    member.older = undefined;
    member.newer = undefined;
  }
}
