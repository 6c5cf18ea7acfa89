/** What makes a recording fit to be a sample. Pure. */

/** The server's own bounds: less does not tell a voice, more adds nothing. */
export const SHORTEST_S = 3;
export const LONGEST_S = 30;
/** The server takes no larger file. */
export const LARGEST_BYTES = 25 * 1024 * 1024;

/** On the meter's scale, 0 to 1. */
const QUIET = 0.35;
const LOUD = 0.97;

export type LevelWord = 'quiet' | 'good' | 'loud';

/** How the loudest moment of the last seconds was. */
export function levelWord(loudest: number): LevelWord {
  if (loudest >= LOUD) return 'loud';
  return loudest < QUIET ? 'quiet' : 'good';
}

export type LengthWord = 'short' | 'good' | 'full';

export function lengthWord(seconds: number): LengthWord {
  if (seconds < SHORTEST_S) return 'short';
  return seconds >= LONGEST_S ? 'full' : 'good';
}

/** What a file is refused for before it travels; `null`: it may. */
export function fileProblem({ size, type, name }: { size: number; type: string; name: string }): 'too_large' | 'not_audio' | 'empty' | null {
  if (size === 0) return 'empty';
  if (size > LARGEST_BYTES) return 'too_large';
  // A browser that does not know a type says nothing; the name then tells, and the server in the end.
  const audible = /^(audio|video)\/|^application\/ogg/.test(type) || (type === '' && /\.(wav|flac|mp3|ogg|oga|opus|webm|m4a|mp4)$/i.test(name));
  return audible ? null : 'not_audio';
}

/** The kinds of recording that servers read, the best first. */
export const RECORDED_AS = ['audio/webm;codecs=opus', 'audio/ogg;codecs=opus', 'audio/mp4'] as const;

export const extensionOf = (type: string): string => (/ogg/.test(type) ? 'ogg' : /mp4/.test(type) ? 'm4a' : 'webm');
