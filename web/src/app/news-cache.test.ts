import { describe, expect, it } from 'vitest';
import { readConversation, readConversations, type ConversationPage } from '../api/conversations';
import { rowsOf } from '../history/rows';
import { mergeHead, withoutConversation, withRender, withTitle } from './news-cache';

const items = (...ids: string[]) => readConversations(ids.map((id) => ({ id, turns: 1, created_at: '2026-01-02T03:04:05Z', title: `about ${id}` })));
const known = (...pages: string[][]) => ({
  pages: pages.map((ids): ConversationPage => ({ items: items(...ids), more: true })),
  pageParams: pages.map(() => null),
});
const ids = ({ pages }: { pages: ConversationPage[] }) => pages.map(({ items }) => items.map(({ id }) => id));

describe('the list, when news come', () => {
  it('has the new ones first and each one once', () => {
    const merged = mergeHead(known(['c', 'b'], ['a']), { items: items('d', 'c'), more: true });
    expect(ids(merged)).toEqual([['d', 'c', 'b'], ['a']]);
    // One that moved up, as after its age was changed, leaves its old place.
    expect(ids(mergeHead(known(['c', 'b'], ['a']), { items: items('a', 'c'), more: true }))).toEqual([['a', 'c', 'b'], []]);
  });

  it('loses what was deleted, and calls things by their new names', () => {
    expect(ids(withoutConversation(known(['b'], ['a']), 'a'))).toEqual([['b'], []]);
    const named = withTitle(known(['b'], ['a']), { conversation: 'a', title: 'Rain' });
    expect(named.pages.flatMap(({ items }) => items.map(({ title }) => title))).toEqual(['about b', 'Rain']);
  });

  it('shows no conversation twice where pages overlap, and opens each day once', () => {
    const now = new Date(2026, 0, 3);
    const [a, b] = items('a', 'b');
    if (a === undefined || b === undefined) throw new Error('unreachable');
    const older = { ...b, createdAt: new Date(2026, 0, 1, 12) };
    const rows = rowsOf([{ ...a, createdAt: new Date(2026, 0, 2, 12) }, older, older], now, 'en');
    expect(rows.map(({ item, day }) => [item.id, day])).toEqual([
      ['a', 'yesterday'],
      ['b', { date: 'Thursday, January 1' }],
    ]);
  });
});

describe('a better recording, when news come', () => {
  const conversation = readConversation({
    id: 'c',
    created_at: '2026-01-02T03:04:05Z',
    turns: [
      { id: 1, assistant: { text: 'One', hq: { state: 'pending' } } },
      { id: 2, assistant: { text: 'Two', hq: { state: 'pending' } } },
    ],
  });
  const states = (news: { turn: string; state: 'rendering' | 'failed' | 'ready' }) =>
    withRender(conversation, { kind: 'render', conversation: 'c', reason: null, ...news }).turns.map(({ assistant }) => assistant.hq?.state);

  it('changes its own turn only', () => {
    expect(states({ turn: '2', state: 'rendering' })).toEqual(['pending', 'rendering']);
    expect(states({ turn: '1', state: 'failed' })).toEqual(['failed', 'pending']);
    expect(states({ turn: '9', state: 'failed' })).toEqual(['pending', 'pending']);
  });

  it('is not called ready before there is an address to play it from', () => {
    expect(states({ turn: '1', state: 'ready' })).toEqual(['pending', 'pending']);
  });
});
