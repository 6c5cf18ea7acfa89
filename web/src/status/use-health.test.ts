import { expect, it } from 'vitest';
import type { Health } from '../api/health';
import { patience } from './use-health';

const known = (status: Health['status']) => patience({ kind: 'known', health: { status, percent: null, engines: [], calls: null } });

it('looks most often while the server loads, so that the page goes ready by itself', () => {
  expect(known('loading')).toBeLessThanOrEqual(1_000);
  expect(known('loading')).toBeLessThan(known('down'));
  expect(known('down')).toBeLessThan(known('ok'));
  expect(patience({ kind: 'unreachable' })).toBe(known('down'));
});
