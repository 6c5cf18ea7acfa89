/** What the page has asked the server and still remembers, and what keeps it fresh. */
import { QueryClient } from '@tanstack/react-query';
import { ApiError } from '../api/http';
import { watchKey } from '../api/key';

/** An answer that another try may change; a refusal stays one. */
const worthAnotherTry = (error: unknown): boolean =>
  !(error instanceof ApiError) || error.kind === 'unreachable' || error.kind === 'broken';

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // The server is often on this very machine: whether there is an internet says nothing about it.
      networkMode: 'always',
      staleTime: 30_000,
      retry: (failures, error) => failures < 1 && worthAnotherTry(error),
      retryDelay: 700,
      refetchOnWindowFocus: false,
    },
    mutations: { networkMode: 'always' },
  },
});

// Another key sees other conversations and voices.
watchKey(() => void queries.resetQueries());
