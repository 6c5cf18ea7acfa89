/** How news changes what is remembered. Pure. */
import type { InfiniteData } from '@tanstack/react-query';
import type { Conversation, ConversationPage } from '../api/conversations';
import type { News } from '../api/news';

type Pages<P = unknown> = InfiniteData<ConversationPage, P>;

/** The list with its newest page read again: what is new stands first, what is known stands once. */
export function mergeHead<P>(known: Pages<P>, head: ConversationPage): Pages<P> {
  const fresh = new Set(head.items.map(({ id }) => id));
  const [first, ...rest] = known.pages;
  if (first === undefined) return known;
  const older = first.items.filter(({ id }) => !fresh.has(id));
  return {
    ...known,
    pages: [
      { items: [...head.items, ...older], more: first.more || head.more },
      ...rest.map((page) => ({ ...page, items: page.items.filter(({ id }) => !fresh.has(id)) })),
    ],
  };
}

export function withoutConversation<P>(known: Pages<P>, gone: string): Pages<P> {
  return { ...known, pages: known.pages.map((page) => ({ ...page, items: page.items.filter(({ id }) => id !== gone) })) };
}

export function withTitle<P>(known: Pages<P>, { conversation, title }: { conversation: string; title: string | null }): Pages<P> {
  return {
    ...known,
    pages: known.pages.map((page) => ({ ...page, items: page.items.map((item) => (item.id === conversation ? { ...item, title } : item)) })),
  };
}

/** The conversation with the state of one reply's better recording. Its address comes with the next reading. */
export function withRender(known: Conversation, news: News & { kind: 'render' }): Conversation {
  return {
    ...known,
    turns: known.turns.map((turn) => {
      if (turn.id !== news.turn || (news.state === 'ready' && turn.assistant.hq?.state !== 'ready')) return turn;
      const hq = turn.assistant.hq ?? { state: news.state, reason: null, voice: null, audio: null, durationMs: null };
      return { ...turn, assistant: { ...turn.assistant, hq: { ...hq, state: news.state, reason: news.reason } } };
    }),
  };
}
