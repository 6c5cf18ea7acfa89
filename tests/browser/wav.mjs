// Sound as mono Float32Array: WAV files, resampling, levels. No dependency.
import { readFileSync, writeFileSync } from 'node:fs';

/** Reads a 16-bit PCM WAV file; several channels are averaged. */
export function readWav(path) {
  const bytes = readFileSync(path);
  if (bytes.toString('latin1', 0, 4) !== 'RIFF' || bytes.toString('latin1', 8, 12) !== 'WAVE') {
    throw new Error(`${path} is not a WAV file`);
  }
  let format = null;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const name = bytes.toString('latin1', at, at + 4);
    const size = bytes.readUInt32LE(at + 4);
    if (name === 'fmt ') {
      format = { kind: bytes.readUInt16LE(at + 8), channels: bytes.readUInt16LE(at + 10), rate: bytes.readUInt32LE(at + 12), bits: bytes.readUInt16LE(at + 22) };
    } else if (name === 'data' && format !== null) {
      if (format.bits !== 16) throw new Error(`${path} has ${format.bits} bits a sample; 16 are wanted`);
      const { channels, rate } = format;
      const end = Math.min(at + 8 + size, bytes.length);
      const samples = new Float32Array(Math.floor((end - at - 8) / (2 * channels)));
      for (let i = 0; i < samples.length; i += 1) {
        let sum = 0;
        for (let c = 0; c < channels; c += 1) sum += bytes.readInt16LE(at + 8 + 2 * (i * channels + c));
        samples[i] = sum / channels / 32768;
      }
      return { samples, rate };
    }
    at += 8 + size + (size & 1);
  }
  throw new Error(`${path} has no sound in it`);
}

/** Writes 16-bit PCM, mono, with the plain 44-byte header that Chromium's fake microphone wants. */
export function writeWav(path, samples, rate) {
  writeFileSync(path, encodeWav(samples, rate));
}

/** The same as bytes. */
export function encodeWav(samples, rate) {
  const bytes = Buffer.alloc(44 + 2 * samples.length);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(36 + 2 * samples.length, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(rate, 24);
  bytes.writeUInt32LE(2 * rate, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(2 * samples.length, 40);
  samples.forEach((sample, i) => {
    bytes.writeInt16LE(Math.max(-32768, Math.min(32767, Math.round(sample * 32767))), 44 + 2 * i);
  });
  return bytes;
}

/** Band-limited resampling: a Kaiser-windowed sinc of 24 zero crossings a side, one row of taps for each phase. */
export function resample(samples, from, to) {
  if (from === to) return samples;
  const divisor = gcd(from, to);
  const [up, down] = [to / divisor, from / divisor];
  const cutoff = 0.95 * Math.min(1, to / from);
  const half = Math.ceil(24 / cutoff);
  const taps = Array.from({ length: up }, (_, phase) => {
    const row = new Float64Array(2 * half);
    for (let k = 0; k < row.length; k += 1) {
      const x = k - half + 1 - phase / up;
      row[k] = cutoff * sinc(cutoff * x) * kaiser(x / half);
    }
    const sum = row.reduce((a, b) => a + b, 0);
    return row.map((tap) => tap / sum);
  });
  const out = new Float32Array(Math.floor((samples.length * up) / down));
  for (let i = 0; i < out.length; i += 1) {
    const position = i * down;
    const row = taps[position % up];
    const first = Math.floor(position / up) - half + 1;
    let sum = 0;
    for (let k = Math.max(0, -first); k < row.length && first + k < samples.length; k += 1) sum += row[k] * samples[first + k];
    out[i] = sum;
  }
  return out;
}

export function concatenate(pieces) {
  const whole = new Float32Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

export const silence = (seconds, rate) => new Float32Array(Math.round(seconds * rate));

/** Level of each 10 ms, in dB below full scale; -120 for digital silence. */
export function levels(samples, rate) {
  const frame = Math.round(rate / 100);
  return Array.from({ length: Math.floor(samples.length / frame) }, (_, i) => {
    let energy = 0;
    for (let k = i * frame; k < (i + 1) * frame; k += 1) energy += samples[k] * samples[k];
    return Math.max(-120, 10 * Math.log10(energy / frame + 1e-12));
  });
}

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const gcd = (a, b) => (b === 0 ? a : gcd(b, a % b));

function kaiser(x, beta = 8) {
  return Math.abs(x) > 1 ? 0 : bessel(beta * Math.sqrt(1 - x * x)) / bessel(beta);
}

function bessel(x) {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-12 * sum; k += 1) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
