import { describe, expect, it } from 'vitest';
import { extensionOf, fileProblem, LARGEST_BYTES, lengthWord, levelWord } from './recording';

describe('a sample', () => {
  it('is judged by its length before it travels', () => {
    expect([0, 2.9, 3, 29, 30, 31].map(lengthWord)).toEqual(['short', 'short', 'good', 'good', 'full', 'full']);
  });

  it('says while it is recorded whether it will do', () => {
    expect([0, 0.3, 0.6, 0.98].map(levelWord)).toEqual(['quiet', 'quiet', 'good', 'loud']);
  });

  it('is refused by its file where that is certain, and otherwise left to the server', () => {
    const file = (name: string, type: string, size = 1_000) => fileProblem({ name, type, size });
    expect(file('a.wav', 'audio/wav')).toBeNull();
    expect(file('a.webm', 'video/webm')).toBeNull();
    expect(file('a.opus', '')).toBeNull();
    expect(file('a.pdf', 'application/pdf')).toBe('not_audio');
    expect(file('a.txt', '')).toBe('not_audio');
    expect(file('a.wav', 'audio/wav', 0)).toBe('empty');
    expect(file('a.wav', 'audio/wav', LARGEST_BYTES + 1)).toBe('too_large');
  });

  it('has a name that tells what it is', () => {
    expect(['audio/webm;codecs=opus', 'audio/ogg;codecs=opus', 'audio/mp4'].map(extensionOf)).toEqual(['webm', 'ogg', 'm4a']);
  });
});
