/** Both sides' loudness over the last seconds, in slots of equal time. Pure: time is an argument. */
export interface Slot {
  caller: number;
  reply: number;
}

export class Wave {
  private readonly slots: Slot[];
  /** The slot of time that is being filled. */
  private at = Number.NEGATIVE_INFINITY;

  /** `slotMs`: how long a slot lasts; `length`: how many are kept. */
  constructor(
    private readonly slotMs: number,
    length: number,
  ) {
    this.slots = Array.from({ length }, () => ({ caller: 0, reply: 0 }));
  }

  /** A reading at `now`. The loudest in a slot holds; time without a reading is silence. */
  take(now: number, { caller, reply }: Slot): void {
    const at = Math.floor(now / this.slotMs);
    const passed = Math.min(Math.max(at - this.at, 0), this.slots.length);
    for (let i = 0; i < passed; i += 1) {
      this.slots.shift();
      this.slots.push({ caller: 0, reply: 0 });
    }
    this.at = Math.max(at, this.at);
    const last = this.slots.at(-1);
    if (last === undefined) return;
    last.caller = Math.max(last.caller, caller);
    last.reply = Math.max(last.reply, reply);
  }

  /** The oldest first. */
  read(): readonly Slot[] {
    return this.slots;
  }
}
