/**
 * What a call looks like, from the events it has sent. Pure: `(session, event) → session`.
 *
 * Promises: events that are unknown, late, repeated or out of order never throw and never lose text; a reply that was cut shows
 * only what was heard, whatever trails in after the cut. Owns no clock, socket or DOM.
 */
import type { Conversation } from '../api/conversations';
import { parseStages, textOf, type ServerEvent, type Stages, type WireItem, type WireResponse } from './events';

export interface CallerTurn {
  role: 'user';
  id: string;
  text: string;
  /** `speaking` and `transcribing` texts still grow; `final` is the server's last word; `failed` could not be understood. */
  status: 'speaking' | 'transcribing' | 'final' | 'failed';
}

export interface ReplyTurn {
  role: 'assistant';
  id: string;
  replyId: string | null;
  text: string;
  /** `preparing` is not audible yet; `interrupted` was cut, and `text` is what was heard of it. */
  status: 'preparing' | 'speaking' | 'done' | 'interrupted' | 'failed';
  timings: Stages | null;
}

export type Turn = CallerTurn | ReplyTurn;

/** Whose turn it is, in the order in which a person would notice. */
export type Activity = 'hearing' | 'speaking' | 'thinking' | 'listening';

export interface Session {
  turns: readonly Turn[];
  /** The caller's item that is being spoken. */
  caller: string | null;
  /** The reply that is audible. */
  playing: string | null;
  /** A committed turn whose reply has not come yet, or a reply that is not audible yet. */
  awaited: { item: string } | { reply: string } | null;
  /** The reply that the server still works on. It can be over while the reply plays. */
  generating: string | null;
  /** The reply that the server tells from its beginning once more, since the line was lost in it. */
  retold: string | null;
  /** Of the turn that was answered last. */
  timings: Stages | null;
  /** The server's complaint, in its words, until the next reply begins. */
  fault: string | null;
}

export const emptySession: Session = {
  turns: [],
  caller: null,
  playing: null,
  awaited: null,
  generating: null,
  retold: null,
  timings: null,
  fault: null,
};

export function activityOf(session: Session): Activity {
  if (session.caller !== null) return 'hearing';
  if (session.playing !== null) return 'speaking';
  if (session.awaited !== null) return 'thinking';
  return 'listening';
}

/** The turns worth showing: not noise that became no words, nor a reply that was dropped before any of it was heard. */
export function visibleTurns(session: Session): Turn[] {
  return session.turns.filter((turn) => {
    if (turn.text.trim() !== '') return true;
    if (turn.role === 'user') return turn.status === 'speaking' || turn.status === 'transcribing' || turn.status === 'failed';
    return turn.status === 'failed';
  });
}

function place(turns: readonly Turn[], turn: Turn, previous: string | null | undefined): Turn[] {
  const after = previous == null ? -1 : turns.findIndex((other) => other.id === previous);
  return after === -1 ? [...turns, turn] : [...turns.slice(0, after + 1), turn, ...turns.slice(after + 1)];
}

/** Changes the caller's turn `id`, made first if it is new. */
function withCaller(
  session: Session,
  id: string,
  change: (turn: CallerTurn) => CallerTurn,
  previous?: string | null,
): Session {
  const known = session.turns.find((turn) => turn.id === id);
  if (known === undefined) {
    const fresh: CallerTurn = { role: 'user', id, text: '', status: 'transcribing' };
    return { ...session, turns: place(session.turns, change(fresh), previous) };
  }
  if (known.role !== 'user') return session;
  return { ...session, turns: session.turns.map((turn) => (turn === known ? change(known) : turn)) };
}

/** Changes the reply's turn `id`, made first if it is new. */
function withReply(
  session: Session,
  id: string,
  replyId: string | null | undefined,
  change: (turn: ReplyTurn) => ReplyTurn,
  previous?: string | null,
): Session {
  const known = session.turns.find((turn) => turn.id === id);
  if (known === undefined) {
    const audible = replyId != null && session.playing === replyId;
    const fresh: ReplyTurn = {
      role: 'assistant',
      id,
      replyId: replyId ?? null,
      text: '',
      status: audible ? 'speaking' : 'preparing',
      timings: null,
    };
    return { ...session, turns: place(session.turns, change(fresh), previous) };
  }
  if (known.role !== 'assistant') return session;
  const owned: ReplyTurn = known.replyId === null && replyId != null ? { ...known, replyId } : known;
  return { ...session, turns: session.turns.map((turn) => (turn === known ? change(owned) : turn)) };
}

function mapReplies(session: Session, replyId: string, change: (turn: ReplyTurn) => ReplyTurn): Session {
  return {
    ...session,
    turns: session.turns.map((turn) => (turn.role === 'assistant' && turn.replyId === replyId ? change(turn) : turn)),
  };
}

const over = (turn: ReplyTurn) => turn.status === 'interrupted' || turn.status === 'failed';

/** The item is no longer waited for: it became no turn. */
function release(session: Session, item: string): Session {
  const awaits = session.awaited !== null && 'item' in session.awaited && session.awaited.item === item;
  return awaits ? { ...session, awaited: null } : session;
}

/** Takes over what the server says an item is: from `added`, `done` or `retrieved`, or inside a `response.done`. */
function takeItem(
  session: Session,
  item: WireItem,
  settled: boolean,
  replyId?: string,
  previous?: string | null,
): Session {
  if (item.type !== undefined && item.type !== 'message') return session;
  const text = textOf(item);
  if (item.role === 'user') {
    return withCaller(
      session,
      item.id,
      (turn) => {
        if (turn.status === 'failed') return turn;
        if (settled && text !== null) return { ...turn, text, status: 'final' };
        return text !== null && turn.text === '' ? { ...turn, text } : turn;
      },
      previous,
    );
  }
  if (item.role !== 'assistant') return session;
  return withReply(
    session,
    item.id,
    replyId,
    (turn) => {
      // A cut item's own word on what was heard is final, and may come before or after the reply's `done`.
      if (settled && item.status === 'incomplete') return { ...turn, status: 'interrupted', text: text ?? turn.text };
      if (over(turn)) return settled && text !== null && item.status !== 'completed' ? { ...turn, text } : turn;
      if (settled && text !== null) return { ...turn, text };
      return text !== null && turn.text === '' ? { ...turn, text } : turn;
    },
    previous,
  );
}

const words = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);

/** The session after `event`. Returns the same object when the event changes nothing. */
export function reduce(session: Session, event: ServerEvent): Session {
  switch (event.type) {
    case 'input_audio_buffer.speech_started':
      return withCaller({ ...session, caller: event.item_id }, event.item_id, (turn) =>
        turn.status === 'final' ? turn : { ...turn, status: 'speaking' },
      );

    case 'input_audio_buffer.speech_stopped':
      return withCaller(
        { ...session, caller: session.caller === event.item_id ? null : session.caller },
        event.item_id,
        (turn) => (turn.status === 'speaking' ? { ...turn, status: 'transcribing' } : turn),
      );

    case 'input_audio_buffer.committed': {
      const stopped = session.caller === event.item_id ? { ...session, caller: null } : session;
      return withCaller(
        { ...stopped, awaited: { item: event.item_id } },
        event.item_id,
        (turn) => (turn.status === 'speaking' ? { ...turn, status: 'transcribing' } : turn),
        event.previous_item_id,
      );
    }

    case 'input_audio_buffer.cleared':
      return {
        ...session,
        caller: null,
        turns: session.turns.filter((turn) => turn.id !== session.caller),
      };

    case 'conversation.item.added':
    case 'conversation.item.created':
      return takeItem(session, event.item, false, undefined, event.previous_item_id);

    case 'conversation.item.done':
    case 'conversation.item.retrieved':
      return takeItem(session, event.item, true, undefined, event.previous_item_id);

    case 'conversation.item.truncated':
      return session.turns.some((turn) => turn.id === event.item_id)
        ? withReply(session, event.item_id, null, (turn) => (over(turn) ? turn : { ...turn, status: 'interrupted' }))
        : session;

    case 'conversation.item.deleted':
      return release(
        {
          ...session,
          caller: session.caller === event.item_id ? null : session.caller,
          turns: session.turns.filter((turn) => turn.id !== event.item_id),
        },
        event.item_id,
      );

    case 'conversation.item.input_audio_transcription.delta':
      return withCaller(session, event.item_id, (turn) =>
        turn.status === 'final' || turn.status === 'failed' ? turn : { ...turn, text: turn.text + (event.delta ?? '') },
      );

    case 'conversation.item.input_audio_transcription.completed': {
      const text = event.transcript ?? '';
      const next = withCaller(session, event.item_id, (turn) => ({ ...turn, text, status: 'final' }));
      return text.trim() === '' ? release(next, event.item_id) : next;
    }

    case 'conversation.item.input_audio_transcription.failed':
      return release(
        withCaller(session, event.item_id, (turn) => ({ ...turn, status: 'failed' })),
        event.item_id,
      );

    case 'response.created': {
      const reply = event.response.id;
      const next = { ...session, generating: reply, fault: null };
      return session.playing === reply ? next : { ...next, awaited: { reply } };
    }

    case 'response.output_item.added':
      return takeItem(session, { role: 'assistant', ...event.item }, false, event.response_id);

    case 'response.output_item.done':
      return takeItem(session, { role: 'assistant', ...event.item }, true, event.response_id);

    case 'response.output_audio_transcript.delta':
      if (session.retold !== null && session.retold === event.response_id) {
        const again = { ...session, retold: null };
        return withReply(again, event.item_id, event.response_id, (turn) => ({ ...turn, text: event.delta ?? '' }));
      }
      return withReply(session, event.item_id, event.response_id, (turn) =>
        over(turn) || turn.status === 'done' ? turn : { ...turn, text: turn.text + (event.delta ?? '') },
      );

    case 'response.output_audio_transcript.done':
      return withReply(session, event.item_id, event.response_id, (turn) =>
        over(turn) ? turn : { ...turn, text: event.transcript ?? turn.text },
      );

    case 'response.done':
      return finish(session, event.response);

    case 'output_audio_buffer.started': {
      if (event.response_id === undefined) return session;
      const next = mapReplies(session, event.response_id, (turn) => (over(turn) ? turn : { ...turn, status: 'speaking' }));
      return { ...next, playing: event.response_id, awaited: null };
    }

    case 'output_audio_buffer.stopped':
    case 'output_audio_buffer.cleared': {
      const reply = event.response_id ?? session.playing;
      if (reply === null) return session;
      const cut = event.type === 'output_audio_buffer.cleared';
      const next = mapReplies(session, reply, (turn) =>
        over(turn) ? turn : { ...turn, status: cut ? 'interrupted' : 'done' },
      );
      return { ...next, playing: session.playing === reply ? null : session.playing };
    }

    case 'avatar.turn.timings': {
      const stages = parseStages(event.stages);
      if (stages === null) return session;
      const next = { ...session, timings: stages };
      return event.response_id == null
        ? next
        : mapReplies(next, event.response_id, (turn) => ({ ...turn, timings: stages }));
    }

    case 'avatar.session.resumed': {
      const goesOn = event.response_id != null && session.turns.some((turn) => turn.role === 'assistant' && turn.replyId === event.response_id);
      return goesOn ? { ...session, caller: null, retold: event.response_id ?? null } : settle(session);
    }

    case 'error':
      return { ...session, fault: words(event.error?.message) ?? words(event.error?.code) ?? 'error' };

    default:
      return session;
  }
}

/** A reply's generation has ended: completed replies may still be playing, cut ones keep what was heard. */
function finish(session: Session, response: WireResponse): Session {
  const output = Array.isArray(response.output) ? response.output.filter((item) => typeof item?.id === 'string') : [];
  let next = output.reduce(
    (state, item) => takeItem(state, { role: 'assistant', ...item }, true, response.id),
    session,
  );
  const completed = response.status === undefined || response.status === 'completed';
  const failed = response.status === 'failed';
  next = mapReplies(next, response.id, (turn) => {
    if (over(turn)) return turn;
    if (failed) return { ...turn, status: 'failed' };
    if (!completed) return { ...turn, status: 'interrupted', text: turn.status === 'preparing' ? '' : turn.text };
    return session.playing === response.id ? turn : { ...turn, status: 'done' };
  });
  if (next.generating === response.id) next = { ...next, generating: null };
  if (failed) next = { ...next, fault: words(response.status_details?.error?.message) ?? next.fault };
  // A reply that ended without a sound is not waited for; should its sound still come, `started` says so.
  const awaited = next.awaited !== null && 'reply' in next.awaited && next.awaited.reply === response.id;
  return awaited ? { ...next, awaited: null } : next;
}

/** The session of a call that is over, or that went on without what was under way: nobody speaks, and a reply that was cut says so. */
export function settle(session: Session): Session {
  if (activityOf(session) === 'listening' && session.generating === null) return session;
  return {
    ...session,
    caller: null,
    playing: null,
    awaited: null,
    generating: null,
    turns: session.turns.map((turn) => {
      if (turn.role === 'assistant') {
        if (turn.status === 'preparing') return { ...turn, text: '', status: 'interrupted' };
        return turn.status === 'speaking' ? { ...turn, status: 'interrupted' } : turn;
      }
      return turn.status === 'speaking' || turn.status === 'transcribing' ? { ...turn, status: 'final' } : turn;
    }),
  };
}

/** What was said before, as it is kept in history, for a page that goes on with it. */
export function sessionOf({ turns }: Conversation): Session {
  return {
    ...emptySession,
    turns: turns.flatMap(({ id, user, assistant, timings }): Turn[] => {
      const said: CallerTurn = { role: 'user', id: user.item ?? `${id}-user`, text: user.text, status: 'final' };
      const answered: ReplyTurn = {
        role: 'assistant',
        id: assistant.item ?? `${id}-assistant`,
        replyId: null,
        text: assistant.text,
        status: assistant.interrupted ? 'interrupted' : 'done',
        timings,
      };
      return [said, answered].filter(({ text }) => text !== '');
    }),
  };
}
