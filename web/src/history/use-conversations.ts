import { keepPreviousData, useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { listConversations } from '../api/conversations';
import { keys } from '../app/query-keys';
import { refreshHead } from '../app/use-news';

/** The list of conversations in which `q` stands (all, if it is empty), a page at a time, newest first. */
export function useConversations(q: string) {
  const client = useQueryClient();
  // What was loaded on an earlier visit is shown at once; only its newest page is read again.
  useEffect(() => void refreshHead(client), [client]);
  return useInfiniteQuery({
    queryKey: keys.list(q),
    queryFn: ({ pageParam, signal }) => listConversations(pageParam, q, signal),
    initialPageParam: null as string | null,
    getNextPageParam: ({ items, more }) => (more ? (items.at(-1)?.id ?? undefined) : undefined),
    // News and visits bring the newest; reading fifty pages anew would bring nothing more.
    staleTime: q === '' ? Number.POSITIVE_INFINITY : 15_000,
    placeholderData: keepPreviousData,
  });
}

export type Conversations = ReturnType<typeof useConversations>;
