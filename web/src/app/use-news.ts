import { useEffect } from 'react';
import type { InfiniteData, QueryClient } from '@tanstack/react-query';
import { useQueryClient } from '@tanstack/react-query';
import { listConversations, type Conversation, type ConversationPage } from '../api/conversations';
import { watchKey } from '../api/key';
import { follow, type News } from '../api/news';
import { useCall } from './call-context';
import { keys } from './query-keys';
import { mergeHead, withRender, withTitle, withoutConversation } from './news-cache';

/** Follows the server's news for as long as the page is open, and brings what is shown up to date. */
export function useNews(): void {
  const client = useQueryClient();
  const call = useCall();
  useEffect(() => {
    let running = new AbortController();
    const listen = () => {
      running.abort();
      running = new AbortController();
      const take = (news: News) => {
        apply(client, news);
        // A server that was away may have lost the call before its link shows it.
        if (news.kind === 'back') call.checkLink();
      };
      void follow(take, running.signal);
    };
    listen();
    const unwatch = watchKey(listen);
    return () => {
      unwatch();
      running.abort();
    };
  }, [client, call]);
}

function apply(client: QueryClient, news: News): void {
  switch (news.kind) {
    case 'turn':
      void client.invalidateQueries({ queryKey: keys.conversation(news.conversation) });
      void refreshHead(client);
      return;
    case 'render':
      client.setQueryData<Conversation>(keys.conversation(news.conversation), (known) => known && withRender(known, news));
      if (news.state === 'ready' || news.state === 'failed') {
        void client.invalidateQueries({ queryKey: keys.conversation(news.conversation) });
        void refreshHead(client);
      }
      return;
    case 'title':
      client.setQueryData<Conversation>(keys.conversation(news.conversation), (known) => known && { ...known, title: news.title });
      client.setQueriesData<InfiniteData<ConversationPage>>({ queryKey: keys.lists }, (known) => known && withTitle(known, news));
      return;
    case 'deleted':
      client.setQueriesData<InfiniteData<ConversationPage>>({ queryKey: keys.lists }, (known) => known && withoutConversation(known, news.conversation));
      return;
    case 'voice':
      void client.invalidateQueries({ queryKey: keys.voices });
      return;
    case 'lagged':
    case 'back':
      void client.invalidateQueries({ queryKey: keys.voices });
      void client.invalidateQueries({ queryKey: ['conversation'] });
      void refreshHead(client);
  }
}

/** One page of the newest, however many are loaded: a talk makes news every few seconds. */
export async function refreshHead(client: QueryClient): Promise<void> {
  const key = keys.list('');
  if (client.getQueryData(key) === undefined) return;
  try {
    const head = await listConversations(null);
    client.setQueryData<InfiniteData<ConversationPage, string | null>>(key, (known) => known && mergeHead(known, head));
  } catch {
    // What is shown stays; the next news or visit asks again.
  }
}
