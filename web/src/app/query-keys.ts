/** The names under which answers are remembered. */
export const keys = {
  lists: ['conversations'] as const,
  list: (q: string) => ['conversations', q] as const,
  conversation: (id: string) => ['conversation', id] as const,
  voices: ['voices'] as const,
  cloning: ['cloning'] as const,
  status: ['status'] as const,
};
