// A call's events, put together to turns.

const ofType = (events, type) => events.filter(({ event }) => event.type === type);

/** The ids of what the caller was understood to have said, in order: one for each turn the server saw. */
export const committed = (events) => ofType(events, 'input_audio_buffer.committed').map(({ event }) => event.item_id);

/** `{ item, text }` of each turn whose transcript is there, in the order of the turns. */
export function transcripts(events) {
  const texts = new Map(
    ofType(events, 'conversation.item.input_audio_transcription.completed').map(({ event }) => [event.item_id, event.transcript]),
  );
  return committed(events).flatMap((item) => (texts.has(item) ? [{ item, text: texts.get(item) }] : []));
}

/** Each reply: what it said, how it ended, its usage, and when its sound began and ended (ms on the page's clock). */
export function replies(events) {
  return ofType(events, 'response.created').map(({ event }) => {
    const { id } = event.response;
    const find = (type, of) => ofType(events, type).find(({ event }) => of(event) === id);
    const byReply = (event) => event.response_id;
    const done = find('response.done', (event) => event.response.id)?.event.response;
    return {
      id,
      text: find('response.output_audio_transcript.done', byReply)?.event.transcript ?? '',
      status: done?.status ?? 'unfinished',
      reason: done?.status_details?.reason ?? null,
      usage: done?.usage ?? null,
      timings: find('avatar.turn.timings', byReply)?.event.stages ?? null,
      startedAt: find('output_audio_buffer.started', byReply)?.at ?? null,
      stoppedAt: (find('output_audio_buffer.stopped', byReply) ?? find('output_audio_buffer.cleared', byReply))?.at ?? null,
    };
  });
}

export const conversationOf = (events) =>
  ofType(events, 'session.created')[0]?.event.session.avatar.conversation_id ?? null;

/** The sound of one reply out of a recording, with a little silence round it. */
export function soundOf({ startedAt, stoppedAt }, { samples, blocks }) {
  const position = (at) => blocks.find((block) => block.at >= at)?.begin ?? samples.length;
  return samples.slice(position(startedAt - 400), position(stoppedAt + 1_200));
}
