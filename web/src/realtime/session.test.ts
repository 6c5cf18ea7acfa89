import { describe, expect, it } from 'vitest';
import { parseEvent, type ServerEvent, type WireItem } from './events';
import { activityOf, emptySession, reduce, visibleTurns, type Session } from './session';

const after = (...events: ServerEvent[]): Session => events.reduce(reduce, emptySession);
const shown = (session: Session) => visibleTurns(session).map(({ role, text, status }) => ({ role, text, status }));

const started = (item_id: string): ServerEvent => ({ type: 'input_audio_buffer.speech_started', item_id });
const stopped = (item_id: string): ServerEvent => ({ type: 'input_audio_buffer.speech_stopped', item_id });
const committed = (item_id: string): ServerEvent => ({ type: 'input_audio_buffer.committed', item_id });
const heard = (item_id: string, delta: string): ServerEvent => ({
  type: 'conversation.item.input_audio_transcription.delta',
  item_id,
  delta,
});
const final = (item_id: string, transcript: string): ServerEvent => ({
  type: 'conversation.item.input_audio_transcription.completed',
  item_id,
  transcript,
});
const created = (id: string): ServerEvent => ({ type: 'response.created', response: { id, status: 'in_progress' } });
const spoken = (response_id: string, item_id: string, delta: string): ServerEvent => ({
  type: 'response.output_audio_transcript.delta',
  response_id,
  item_id,
  delta,
});
const playing = (response_id: string): ServerEvent => ({ type: 'output_audio_buffer.started', response_id });
const silent = (response_id: string): ServerEvent => ({ type: 'output_audio_buffer.stopped', response_id });
const cleared = (response_id: string): ServerEvent => ({ type: 'output_audio_buffer.cleared', response_id });
const message = (id: string, transcript: string, status: WireItem['status'], role = 'assistant'): WireItem => ({
  id,
  type: 'message',
  role,
  ...(status === undefined ? {} : { status }),
  content: [{ type: 'output_audio', transcript }],
});
const done = (id: string, ...output: WireItem[]): ServerEvent => ({
  type: 'response.done',
  response: { id, status: 'completed', output },
});
const cancelled = (id: string, ...output: WireItem[]): ServerEvent => ({
  type: 'response.done',
  response: { id, status: 'cancelled', status_details: { reason: 'turn_detected' }, output },
});
const itemDone = (item: WireItem): ServerEvent => ({ type: 'conversation.item.done', item });

describe('the caller’s words', () => {
  it('grow as deltas arrive, then give way to the final text', () => {
    const growing = after(started('u'), heard('u', 'Who wrote '), heard('u', 'waiting'));
    expect(shown(growing)).toEqual([{ role: 'user', text: 'Who wrote waiting', status: 'speaking' }]);
    const settled = [stopped('u'), committed('u'), final('u', 'Who wrote Waiting for Godot?')].reduce(reduce, growing);
    expect(shown(settled)).toEqual([{ role: 'user', text: 'Who wrote Waiting for Godot?', status: 'final' }]);
  });

  it('are not spoilt by a delta that comes after the final text', () => {
    expect(shown(after(started('u'), final('u', 'Hello.'), heard('u', ' lo')))[0]?.text).toBe('Hello.');
  });

  it('are not lost when a delta comes before speech_started', () => {
    expect(shown(after(heard('u', 'Hel'), started('u'), heard('u', 'lo')))[0]?.text).toBe('Hello');
  });

  it('stand as an empty row only while they may still come', () => {
    const speaking = after(started('u'));
    expect(visibleTurns(speaking)).toHaveLength(1);
    expect(visibleTurns([stopped('u'), committed('u'), final('u', '  ')].reduce(reduce, speaking))).toHaveLength(0);
  });

  it('leave no thinking behind when they turn out to be noise', () => {
    const waiting = after(started('u'), stopped('u'), committed('u'));
    expect(activityOf(waiting)).toBe('thinking');
    expect(activityOf(reduce(waiting, final('u', '')))).toBe('listening');
    expect(
      activityOf(reduce(waiting, { type: 'conversation.item.input_audio_transcription.failed', item_id: 'u' })),
    ).toBe('listening');
    expect(activityOf(reduce(waiting, { type: 'conversation.item.deleted', item_id: 'u' }))).toBe('listening');
  });

  it('disappear when the buffer they were in is cleared', () => {
    const session = after(started('u'), heard('u', 'Uh'), { type: 'input_audio_buffer.cleared' });
    expect(visibleTurns(session)).toHaveLength(0);
    expect(activityOf(session)).toBe('listening');
  });

  it('stay where they were said when their item is announced late', () => {
    const session = after(
      started('u1'),
      final('u1', 'One.'),
      spoken('r1', 'a1', 'Two.'),
      { type: 'conversation.item.added', item: { id: 'u0', type: 'message', role: 'user' }, previous_item_id: 'u1' },
      final('u0', 'One and a half.'),
    );
    expect(shown(session).map(({ text }) => text)).toEqual(['One.', 'One and a half.', 'Two.']);
  });
});

describe('a reply', () => {
  it('grows while it is spoken and is done when the last of it was played', () => {
    const speaking = after(created('r'), spoken('r', 'a', 'Samuel '), playing('r'), spoken('r', 'a', 'Beckett.'));
    expect(shown(speaking)).toEqual([{ role: 'assistant', text: 'Samuel Beckett.', status: 'speaking' }]);
    const generated = reduce(speaking, done('r', message('a', 'Samuel Beckett.', 'completed')));
    expect(shown(generated)[0]?.status).toBe('speaking');
    expect(activityOf(generated)).toBe('speaking');
    const played = reduce(generated, silent('r'));
    expect(shown(played)).toEqual([{ role: 'assistant', text: 'Samuel Beckett.', status: 'done' }]);
    expect(activityOf(played)).toBe('listening');
  });

  it('that is cut shows only what was heard, whichever of the three tidings comes first', () => {
    const before = [created('r'), playing('r'), spoken('r', 'a', 'Two men wait beside a tree for someone.')];
    const heardText = message('a', 'Two men wait', 'incomplete');
    const tidings: ServerEvent[] = [cancelled('r', heardText), cleared('r'), itemDone(heardText)];
    for (const first of tidings) {
      const rest = tidings.filter((event) => event !== first);
      for (const order of [rest, rest.toReversed()]) {
        const session = after(...before, started('u'), first, ...order);
        expect(shown(session)[0]).toEqual({ role: 'assistant', text: 'Two men wait', status: 'interrupted' });
        expect(session.playing).toBeNull();
      }
    }
  });

  it('that is cut is not lengthened by what trails in', () => {
    const session = after(
      created('r'),
      playing('r'),
      spoken('r', 'a', 'Two men wait'),
      cancelled('r', message('a', 'Two men', 'incomplete')),
      spoken('r', 'a', ' beside a tree'),
      { type: 'response.output_audio_transcript.done', response_id: 'r', item_id: 'a', transcript: 'Two men wait beside' },
      { type: 'response.output_item.done', response_id: 'r', item: message('a', 'Two men wait beside', 'completed') },
    );
    expect(shown(session)).toEqual([{ role: 'assistant', text: 'Two men', status: 'interrupted' }]);
  });

  it('that is cut while the rest of it plays, after it was completed, is marked too', () => {
    const session = after(
      created('r'),
      playing('r'),
      spoken('r', 'a', 'Two men wait.'),
      done('r', message('a', 'Two men wait.', 'completed')),
      { type: 'conversation.item.truncated', item_id: 'a', audio_end_ms: 400 },
      itemDone(message('a', 'Two', 'incomplete')),
      cleared('r'),
    );
    expect(shown(session)).toEqual([{ role: 'assistant', text: 'Two', status: 'interrupted' }]);
  });

  it('that was dropped before a sound of it is not shown', () => {
    const session = after(created('r'), spoken('r', 'a', 'Two men'), started('u'), cancelled('r'));
    expect(shown(session).map(({ role }) => role)).toEqual(['user']);
  });

  it('that is cancelled does not stop the wait for the next', () => {
    const session = after(created('r1'), started('u'), stopped('u'), committed('u'), cancelled('r1'));
    expect(activityOf(session)).toBe('thinking');
  });

  it('that makes no sound is not waited for', () => {
    expect(activityOf(after(created('r'), done('r')))).toBe('listening');
    expect(activityOf(after(created('r'), done('r'), playing('r')))).toBe('speaking');
  });

  it('can be cancelled only until the server is done with it, though it plays on', () => {
    const speaking = after(created('r'), playing('r'));
    expect(speaking.generating).toBe('r');
    expect(reduce(speaking, done('other')).generating).toBe('r');
    const generated = reduce(speaking, done('r'));
    expect(generated).toMatchObject({ generating: null, playing: 'r' });
  });

  it('takes the last complaint off the page', () => {
    const complained = after({ type: 'error', error: { code: 'odd', message: 'that was odd' } });
    expect(complained.fault).toBe('that was odd');
    expect(reduce(complained, created('r')).fault).toBeNull();
  });

  it('that fails says so and keeps the server’s words', () => {
    const session = after(created('r'), spoken('r', 'a', 'Two'), {
      type: 'response.done',
      response: { id: 'r', status: 'failed', status_details: { error: { message: 'the voice is gone' } } },
    });
    expect(shown(session)[0]?.status).toBe('failed');
    expect(session.fault).toBe('the voice is gone');
    expect(activityOf(session)).toBe('listening');
  });

  it('gets its own timings, and the newest are the session’s', () => {
    const session = after(created('r'), spoken('r', 'a', 'Two'), {
      type: 'avatar.turn.timings',
      item_id: 'u',
      response_id: 'r',
      stages: { turn_commit_ms: 210, first_packet_ms: 390, text_final_ms: 'soon' },
    });
    const reply = session.turns[0];
    expect(reply?.role === 'assistant' && reply.timings?.first_packet_ms).toBe(390);
    expect(session.timings).toMatchObject({ turn_commit_ms: 210, text_final_ms: null, first_packet_ms: 390 });
  });

  it('is heard out of the way when the caller speaks over it', () => {
    expect(activityOf(after(created('r'), playing('r'), started('u')))).toBe('hearing');
  });
});

describe('events that do not belong', () => {
  it('change nothing when they are of an unknown type', () => {
    const session = after(started('u'));
    const odd = parseEvent('{"type":"avatar.hq.ready","item_id":"u"}');
    expect(odd).not.toBeNull();
    if (odd !== null) expect(reduce(session, odd)).toBe(session);
  });

  it('are refused when they are no events, or lack what their type must carry', () => {
    const bad = [
      'hello',
      'null',
      '[]',
      '{"type":7}',
      '{"type":"response.done"}',
      '{"type":"response.done","response":null}',
      '{"type":"conversation.item.added","item":{"role":"user"}}',
      '{"type":"input_audio_buffer.speech_started"}',
      '{"type":"conversation.item.input_audio_transcription.completed","item_id":"u","transcript":5}',
    ];
    for (const text of bad) expect(parseEvent(text), text).toBeNull();
  });

  it('do not throw with odd contents', () => {
    const odd = [
      '{"type":"response.done","response":{"id":"r","status":"cancelled","output":[null,7,{"id":"a","content":"x"}]}}',
      '{"type":"conversation.item.done","item":{"id":"u","role":"user","content":[null,{"type":"input_audio"}]}}',
      '{"type":"avatar.turn.timings","stages":null}',
      '{"type":"error","error":{"message":{}}}',
      '{"type":"output_audio_buffer.stopped"}',
    ];
    for (const text of odd) {
      const event = parseEvent(text);
      if (event !== null) expect(() => reduce(emptySession, event), text).not.toThrow();
    }
  });

  it('do not make turns of system messages or tool calls', () => {
    const session = after(
      itemDone(message('s', 'Be kind.', 'completed', 'system')),
      { type: 'response.output_item.added', response_id: 'r', item: { id: 'f', type: 'function_call' } },
    );
    expect(session.turns).toHaveLength(0);
  });
});

describe('a talk that goes on over another line', () => {
  const resumed = (response_id: string | null): ServerEvent => ({ type: 'avatar.session.resumed', conversation_id: 'c', response_id });
  const cut = () => after(started('u'), final('u', 'Hi.'), created('r'), spoken('r', 'a', 'One, two, '), playing('r'));

  it('does not say twice what the server tells again of the reply', () => {
    const session = [resumed('r'), created('r'), spoken('r', 'a', 'One, two, three'), playing('r'), spoken('r', 'a', ', four.')].reduce(reduce, cut());
    expect(shown(session).at(-1)).toEqual({ role: 'assistant', text: 'One, two, three, four.', status: 'speaking' });
  });

  it('knows that a reply which does not go on was cut, and waits for nothing', () => {
    const session = reduce(cut(), resumed(null));
    expect(shown(session).at(-1)).toEqual({ role: 'assistant', text: 'One, two, ', status: 'interrupted' });
    expect(activityOf(session)).toBe('listening');
  });

  it('does not wait for the end of words that nobody heard', () => {
    const session = reduce(after(started('u'), heard('u', 'Tell me')), resumed(null));
    expect(shown(session)).toEqual([{ role: 'user', text: 'Tell me', status: 'final' }]);
  });
});
