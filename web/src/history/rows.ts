/** The list's rows: conversations, each of which may open a day. Pure. */
import type { ConversationSummary } from '../api/conversations';
import { dayOf } from '../ui/format';

export interface Row {
  item: ConversationSummary;
  /** The day that begins with this row; `null`: still that of the row before. */
  day: 'today' | 'yesterday' | { date: string } | null;
}

export function rowsOf(items: ConversationSummary[], now: Date, locale: string): Row[] {
  const seen = new Set<string>();
  let last = '';
  return items.flatMap((item) => {
    // Pages that were read at different times can overlap.
    if (seen.has(item.id)) return [];
    seen.add(item.id);
    const day = dayOf(item.createdAt, now, locale);
    const name = typeof day === 'string' ? day : day.date;
    const opens = name !== last;
    last = name;
    return [{ item, day: opens ? day : null }];
  });
}
