import { useCallback, useEffect, useRef, useState } from 'react';
import { listConversations, PAGE_SIZE, type ConversationSummary } from '../api/client';

export type ListState =
  | { kind: 'loading' }
  | { kind: 'failed'; error: unknown }
  /** `more`: whether older ones may exist, are being fetched, or could not be. */
  | { kind: 'loaded'; items: ConversationSummary[]; more: 'none' | 'some' | 'loading' | 'failed' };

export interface Conversations {
  state: ListState;
  reload(): void;
  loadMore(): void;
}

/** The list of conversations, a page at a time, newest first. */
export function useConversations(): Conversations {
  const [state, setState] = useState<ListState>({ kind: 'loading' });
  const running = useRef<AbortController | null>(null);

  const fetchPage = useCallback(async (known: ConversationSummary[]) => {
    running.current?.abort();
    const request = new AbortController();
    running.current = request;
    setState(known.length === 0 ? { kind: 'loading' } : { kind: 'loaded', items: known, more: 'loading' });
    try {
      const page = await listConversations(known.at(-1)?.id ?? null, request.signal);
      if (request.signal.aborted) return;
      const seen = new Set(known.map(({ id }) => id));
      const fresh = page.filter(({ id }) => !seen.has(id));
      // A page with nothing new would be asked for without end.
      const more = page.length < PAGE_SIZE || fresh.length === 0 ? 'none' : 'some';
      setState({ kind: 'loaded', items: [...known, ...fresh], more });
    } catch (error) {
      if (request.signal.aborted) return;
      setState(known.length === 0 ? { kind: 'failed', error } : { kind: 'loaded', items: known, more: 'failed' });
    }
  }, []);

  useEffect(() => {
    void fetchPage([]);
    return () => running.current?.abort();
  }, [fetchPage]);

  return {
    state,
    reload: () => void fetchPage([]),
    loadMore: () => {
      if (state.kind === 'loaded' && state.more !== 'loading') void fetchPage(state.items);
    },
  };
}
