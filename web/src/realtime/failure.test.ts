import { describe, expect, it } from 'vitest';
import { answerFailure, microphoneFailure, retryAfterSeconds } from './failure';

const body = (code: string, message: string) => JSON.stringify({ error: { type: 'server_error', code, message, param: null } });

describe('an answer that is not a call', () => {
  it('tells a full server from one that lacks an engine', () => {
    expect(answerFailure(503, '7', body('server_full', 'all 5 call slots are busy'), 0)).toEqual({
      kind: 'full',
      retryAfter: 7,
      detail: 'all 5 call slots are busy',
    });
    expect(answerFailure(503, null, body('engine_missing', 'stt is not available: run x'), 0)).toEqual({
      kind: 'engine',
      detail: 'stt is not available: run x',
    });
    expect(answerFailure(503, '3', body('engine_missing', 'still loading'), 0).kind).toBe('engine');
    expect(answerFailure(503, '2', body('server_draining', 'shutting down'), 0).kind).toBe('draining');
    expect(answerFailure(503, '2', body('too_many_calls', 'busy'), 0).kind).toBe('full');
    expect(answerFailure(503, '5', body('server_loading', 'the server is loading its models, 40 % are there'), 0)).toEqual({
      kind: 'loading',
      retryAfter: 5,
      detail: 'the server is loading its models, 40 % are there',
    });
  });

  it('is full by its Retry-After alone when the body is not ours', () => {
    expect(answerFailure(503, '4', '<html>', 0)).toEqual({ kind: 'full', retryAfter: 4, detail: null });
    expect(answerFailure(429, null, '', 0)).toEqual({ kind: 'full', retryAfter: 10, detail: null });
  });

  it('is an absent server when a proxy answers for it', () => {
    expect(answerFailure(502, null, '', 0)).toEqual({ kind: 'unreachable' });
  });

  it('keeps the server’s words for everything else', () => {
    expect(answerFailure(400, null, body('invalid_sdp', 'the offer has no audio'), 0)).toEqual({
      kind: 'rejected',
      status: 400,
      detail: 'the offer has no audio',
    });
    expect(answerFailure(500, null, '{"error":"x"}', 0)).toEqual({ kind: 'rejected', status: 500, detail: null });
  });
});

describe('Retry-After', () => {
  it('is read in both of its forms', () => {
    expect(retryAfterSeconds('12', 0)).toBe(12);
    expect(retryAfterSeconds('Thu, 01 Jan 1970 00:00:30 GMT', 10_000)).toBe(20);
  });

  it('never makes a busy loop, nor an endless wait', () => {
    expect(retryAfterSeconds('0', 0)).toBe(1);
    expect(retryAfterSeconds('-5', 0)).toBe(1);
    expect(retryAfterSeconds('99999', 0)).toBe(600);
    expect(retryAfterSeconds('soon', 0)).toBeNull();
    expect(retryAfterSeconds('', 0)).toBeNull();
  });
});

it('tells a refused microphone from one that is absent or busy', () => {
  const kind = (name: string) => microphoneFailure(new DOMException('', name)).kind;
  expect(kind('NotAllowedError')).toBe('permission');
  expect(kind('NotFoundError')).toBe('no-microphone');
  expect(kind('NotReadableError')).toBe('microphone-busy');
});
