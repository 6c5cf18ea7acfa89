/**
 * The text of an event stream, in pieces as they come, into events (WHATWG HTML, "server-sent events"). The browser's own
 * `EventSource` can't send a key. Pure; holds at most [`LIMIT`] characters of an unfinished event and drops what is longer.
 */
export interface StreamEvent {
  event: string;
  data: string;
}

const LIMIT = 1 << 20;

export class EventReader {
  private rest = '';
  private event = '';
  private data: string[] = [];
  private held = 0;

  /** The events that `piece` completes. */
  take(piece: string): StreamEvent[] {
    const found: StreamEvent[] = [];
    this.rest += piece;
    if (this.rest.length > LIMIT && !this.rest.includes('\n')) this.rest = '';
    // A lone \r at the end may be the first half of \r\n.
    const whole = this.rest.endsWith('\r') ? this.rest.length - 1 : this.rest.length;
    const lines = this.rest.slice(0, whole).split(/\r\n|\n|\r/);
    this.rest = (lines.pop() ?? '') + this.rest.slice(whole);
    for (const line of lines) {
      const event = this.line(line);
      if (event !== null) found.push(event);
    }
    return found;
  }

  private line(line: string): StreamEvent | null {
    if (line === '') {
      const { event, data } = this;
      this.event = '';
      this.data = [];
      this.held = 0;
      return data.length === 0 ? null : { event: event === '' ? 'message' : event, data: data.join('\n') };
    }
    const colon = line.indexOf(':');
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.event = value;
    else if (field === 'data' && this.held + value.length <= LIMIT) {
      this.held += value.length;
      this.data.push(value);
    }
    return null;
  }
}
