/**
 * Whether the server is still heard, by how many of its packets have come. It sends one every 20 ms, silence too: none at all means
 * that the path is broken, seconds before the browser says so. Pure: time is an argument.
 */

/** Without a packet for so long, the server is heard no more. Well above what a network's stutter takes. */
export const SILENT_MS = 800;
/** How often to look. */
export const LOOK_MS = 100;
/** A page that was not let look for longer than this knows nothing of the time between. */
const LONGEST_LOOK_MS = 2 * LOOK_MS;

export class Flow {
  private packets = 0;
  private looked: number | null = null;
  private silentMs = 0;
  private heard = true;

  /** What `packets`, as counted from the call's beginning, says at `now`: nothing new, silence, or that they come again. */
  look(now: number, packets: number): 'silent' | 'flowing' | null {
    const passed = this.looked === null ? 0 : Math.min(now - this.looked, LONGEST_LOOK_MS);
    this.looked = now;
    if (packets !== this.packets) {
      this.packets = packets;
      this.silentMs = 0;
      if (this.heard) return null;
      this.heard = true;
      return 'flowing';
    }
    // What has not begun yet has not stopped.
    if (packets === 0 || !this.heard) return null;
    this.silentMs += passed;
    if (this.silentMs < SILENT_MS) return null;
    this.heard = false;
    return 'silent';
  }

  /** Something else says that the path works: silence is waited for anew. */
  trust(): void {
    this.heard = true;
    this.silentMs = 0;
  }
}

/** How many packets a receiver has had; `null`: it does not say. */
export async function packetsOf(receiver: RTCRtpReceiver): Promise<number | null> {
  for (const report of (await receiver.getStats()).values()) {
    const { type, packetsReceived } = report as { type: string; packetsReceived?: unknown };
    if (type === 'inbound-rtp' && typeof packetsReceived === 'number') return packetsReceived;
  }
  return null;
}
